//! Ed25519 keys from fixed seeds: deterministic signatures, so that an input does the same in every run.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::{Ed25519KeyPair, KeyPair},
};

/// A key pair that is the same in every run.
pub struct Key {
    pair: Ed25519KeyPair,
    spki: Vec<u8>,
}

impl Key {
    /// The key of a seed.
    pub fn of(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed has 32 octets");
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key has a DER form");
        let spki = spki.as_ref().to_vec();
        Self { pair, spki }
    }

    /// The public key, as `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The 32 octets of the public key.
    pub fn raw(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs, always the same.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}
