//! A certificate that a signer issued, in files as other programs want them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Client, Csr, Signer};

/// A workload's key, its chain and the roots, each in a file.
pub struct Issued {
    folder: tempfile::TempDir,
}

impl Issued {
    /// Asks a signer, with a token for the account `default/NAME`, for a certificate of an hour.
    pub async fn of(signer: &Signer, account: &str, csr: Csr) -> Self {
        Self::for_seconds(signer, account, csr, 3600).await
    }

    /// The same with another lifetime.
    pub async fn for_seconds(signer: &Signer, account: &str, csr: Csr, seconds: i64) -> Self {
        let client = Client::connect(signer).await;
        let token = signer.token("default", account);
        let chain = client.create(&token, &csr.pem, seconds).await.unwrap();
        Self::write(&chain, &csr.key.serialize_pem())
    }

    /// Writes what the service answers, and the key.
    pub fn write(chain: &[String], key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (roots, presented) = chain.split_last().unwrap();
        let (leaf, intermediates) = presented.split_first().unwrap();
        for (name, text) in [
            ("leaf.pem", leaf.clone()),
            ("intermediates.pem", intermediates.concat()),
            ("chain.pem", presented.concat()),
            ("roots.pem", roots.clone()),
            ("key.pem", key.to_owned()),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The leaf alone.
    pub fn leaf(&self) -> PathBuf {
        self.folder().join("leaf.pem")
    }

    /// The intermediates alone.
    pub fn intermediates(&self) -> PathBuf {
        self.folder().join("intermediates.pem")
    }

    /// The leaf and the intermediates, as a TLS peer presents them.
    pub fn chain(&self) -> PathBuf {
        self.folder().join("chain.pem")
    }

    /// The trust bundle.
    pub fn roots(&self) -> PathBuf {
        self.folder().join("roots.pem")
    }

    /// The private key.
    pub fn key(&self) -> PathBuf {
        self.folder().join("key.pem")
    }
}
