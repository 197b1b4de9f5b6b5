//! The transcript's folder: what goes in, what comes out, the sums over all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use sealwright_hsm::Pkcs11Uri;
use sealwright_identity::Digest;
use sealwright_statement::Signed;
use sealwright_x509::pem;

use crate::approval::ApprovedPlan;
use crate::error::Error;
use crate::files::Files;
use crate::head::Head;
use crate::run::Run;

/// The plan, the roster, and who agreed.
pub(crate) const PLAN: &str = "plan.toml";
pub(crate) const ROSTER: &str = "roster.toml";
pub(crate) const APPROVALS: &str = "approvals";
/// The signatures over the head.
pub(crate) const SIGNATURES: &str = "transcript.sig";
/// The sums over every other file.
pub(crate) const SUMS: &str = "SHA256SUMS";

/// Where the fragment of a signer's configuration expects the transcript, beside the configuration.
const FOLDER: &str = "ceremony";

/// One file of the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputFile {
    /// Below the folder.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

/// Keeps what was agreed to. A file that is there was written by an earlier start.
pub(crate) fn write_inputs(folder: &Path, approved: &ApprovedPlan) -> Result<(), Error> {
    let roster = toml::to_string(&**approved.roster()).map_err(|error| Error::Internal(error.to_string()))?;
    let mut files = vec![file(PLAN, approved.plan().text()), file(ROSTER, roster)];
    for (approval, number) in approved.approvals().iter().zip(1..) {
        let role = approval.statement.role.as_str();
        files.push(file(
            format!("{APPROVALS}/{role}-{number}.txt"),
            approval.to_string(),
        ));
    }
    for file in &files {
        if !folder.join(&file.path).exists() {
            write(folder, file)?;
        }
    }
    Ok(())
}

/// What the plan was for: certificates, requests, keys, the configuration.
pub(crate) fn products(run: &Run<'_>) -> Result<Vec<OutputFile>, Error> {
    let mut files = Vec::new();
    let mut roots = BTreeMap::new();
    for (name, certificate) in &run.certificates {
        let pem = |der: &[u8]| pem::encode(pem::CERTIFICATE, der);
        files.push(file(format!("certificates/{name}.pem"), pem(&certificate.der)));
        let between = certificate.parents.len().saturating_sub(1);
        let mut chain = pem(&certificate.der);
        chain.extend(certificate.parents.iter().take(between).map(|der| pem(der)));
        files.push(file(format!("chains/{name}.pem"), chain));
        let root = certificate.root();
        roots.insert(Digest::of(root), pem(root));
    }
    for crossed in run.crossed() {
        let (over, made) = (&crossed.over, &crossed.made);
        let between = made.parents.len().saturating_sub(1);
        let ders = std::iter::once(&made.der).chain(made.parents.iter().take(between));
        let chain: String = ders.map(|der| pem::encode(pem::CERTIFICATE, der)).collect();
        files.push(file(format!("crossed/{over}/{}.pem", made.name), chain));
    }
    if !roots.is_empty() {
        files.push(file("trust-bundle.pem", roots.into_values().collect::<String>()));
    }
    for (name, der) in &run.requests {
        let text = pem::encode(pem::CERTIFICATE_REQUEST, der);
        files.push(file(format!("requests/{name}.pem"), text));
    }
    for (name, key) in &run.keys {
        files.push(file(
            format!("keys/{name}.pem"),
            pem::encode("PUBLIC KEY", &key.spki),
        ));
    }
    for (name, der) in &run.possession {
        let text = pem::encode(pem::CERTIFICATE_REQUEST, der);
        files.push(file(format!("possession/{name}.pem"), text));
    }
    for (path, bytes) in run.attestations.values() {
        files.push(OutputFile {
            path: path.clone(),
            bytes: bytes.clone(),
        });
    }
    if let Some((name, text)) = &run.approvers {
        files.push(file(format!("rosters/{name}.txt"), text.clone()));
    }
    files.extend(configuration(run)?.map(|text| file("sealwright.toml", text)));
    files.sort_by(|one, next| one.path.cmp(&next.path));
    Ok(files)
}

/// The same, and what the new keys said to the head.
pub(crate) fn files(run: &Run<'_>) -> Result<Vec<OutputFile>, Error> {
    let mut files = products(run)?;
    for (name, der) in &run.confirmations {
        let text = pem::encode(pem::CERTIFICATE_REQUEST, der);
        files.push(file(format!("confirmations/{name}.pem"), text));
    }
    Ok(files)
}

/// The sections of a signer's configuration that say where its key and chain are.
fn configuration(run: &Run<'_>) -> Result<Option<String>, Error> {
    let Some(issuer) = &run.plan.issuer else {
        return Ok(None);
    };
    let missing = || Error::Internal(format!("{} is not made", issuer.certificate));
    let certificate = run.certificates.get(&issuer.certificate).ok_or_else(missing)?;
    let token = run.plan.token(&certificate.key.token).ok_or_else(missing)?;
    let uri = |object: &str, id: &[u8]| Pkcs11Uri {
        object: Some(object.to_owned()),
        id: Some(id.to_vec()),
        ..Pkcs11Uri::default()
    };
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = String::new();
    // Writing to a text does not fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!(
        "# From the key ceremony {} ({}). Relative paths start at the configuration's folder:\n# the whole transcript \
         goes there as `{FOLDER}`.",
        run.plan.ceremony,
        if run.plan.rehearsal {
            "a rehearsal"
        } else {
            "in earnest"
        }
    ));
    line("[[issuers]]".to_owned());
    line(format!("name = {}", quoted(issuer.name.as_str())));
    let key = uri(&certificate.key.label, &certificate.key.id);
    line(format!("key = {}", quoted(&key.to_string())));
    line(format!("chain = \"{FOLDER}/chains/{}.pem\"", certificate.name));
    line(format!("roots = \"{FOLDER}/trust-bundle.pem\""));
    line(format!("ceremony = \"{FOLDER}\""));
    if run.plan.rehearsal {
        line("rehearsal = true".to_owned());
    }
    if !issuer.policies.is_empty() {
        let policies: Vec<_> = issuer.policies.iter().map(|name| quoted(name.as_str())).collect();
        line(format!("policies = [{}]", policies.join(", ")));
    }
    line("\n# Compare it with the paper of the ceremony: whoever is in this roster is believed.".to_owned());
    line("[ceremonies]".to_owned());
    line(format!("rosters = [\"{}\"]", run.plan.roster));
    line("\n[gate.token]".to_owned());
    line(format!("module = {}", quoted(&run.plan.module.path)));
    let place = Pkcs11Uri {
        token: Some(token.label.clone()),
        serial: token.serial.clone(),
        ..Pkcs11Uri::default()
    };
    line(format!("uri = {}", quoted(&place.to_string())));
    line("# The user PIN of the token, in a file of the gate's user with mode 0600.".to_owned());
    line("pin_file = \"pin\"".to_owned());
    if let Some(health) = issuer.health_key.as_ref().and_then(|name| run.keys.get(name)) {
        let health = uri(&health.label, &health.id);
        line(format!("health_key = {}", quoted(&health.to_string())));
    }
    Ok(Some(text))
}

pub(crate) fn write_signatures(folder: &Path, signed: &Signed<Head>) -> Result<(), Error> {
    write(folder, &file(SIGNATURES, signed.to_string()))
}

/// Writes the sums over every file but themselves; gives their digest.
pub(crate) fn write_sums(folder: &Path) -> Result<Digest, Error> {
    let text = Files::read(folder)?.sums();
    write(folder, &file(SUMS, text.clone()))?;
    Ok(Digest::of(text.as_bytes()))
}

/// Whole or not at all, and durable.
pub(crate) fn write(folder: &Path, file: &OutputFile) -> Result<(), Error> {
    let path = folder.join(&file.path);
    let parent = path.parent().unwrap_or(folder);
    let written = || -> std::io::Result<()> {
        fs::create_dir_all(parent)?;
        let mut new = tempfile::Builder::new().prefix(".new-").tempfile_in(parent)?;
        new.write_all(&file.bytes)?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        new.as_file().set_permissions(permissions)?;
        new.as_file().sync_all()?;
        new.persist(&path)?;
        fs::File::open(parent)?.sync_all()
    };
    written().map_err(Error::files(&path))
}

fn file(path: impl Into<String>, text: impl Into<String>) -> OutputFile {
    OutputFile {
        path: path.into(),
        bytes: text.into().into_bytes(),
    }
}
