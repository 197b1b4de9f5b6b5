//! The folder of a development signer: made whole or not at all.
//!
//! Everything is made in a sibling folder that is renamed at the end, so that a crash in the
//! middle leaves no half-made home behind, only a sibling that nothing reads.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sealwright_identity::KeyType;
use sealwright_x509::{CertificateRef, pem};
use zeroize::Zeroizing;

use super::{jwt, policy, provision, template};
use crate::{
    args::{Algorithm, DevStart},
    failure::{Class, Failure, OrFail},
    files::{self, Temporary},
    output::notice,
    progress::Spinner,
};

/// Where Debian and others put SoftHSM.
const SOFTHSM: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A home, with the names of what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("sealwright.toml")
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.0.join("roots.pem")
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.0.join("issuer-chain.pem")
    }

    /// The transcript of the ceremony that made the CA.
    pub(crate) fn ceremony(&self) -> PathBuf {
        self.0.join("ceremony")
    }

    pub(crate) fn pin(&self) -> PathBuf {
        self.0.join("pin")
    }

    pub(crate) fn so_pin(&self) -> PathBuf {
        self.0.join("so-pin")
    }

    pub(crate) fn jwt_key(&self) -> PathBuf {
        self.0.join("jwt-issuer.key")
    }

    pub(crate) fn jwks(&self) -> PathBuf {
        self.0.join("jwks.json")
    }

    pub(crate) fn softhsm_conf(&self) -> PathBuf {
        self.0.join("softhsm2.conf")
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.0.join("token")
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.0.join("policies/baseline.wasm")
    }

    /// The secrets that the front must not reach, beside what the configuration names.
    pub(crate) fn secrets(&self) -> Vec<PathBuf> {
        vec![
            self.pin(),
            self.so_pin(),
            self.jwt_key(),
            self.tokens(),
            self.0.join("token.copy"),
        ]
    }

    fn exists(&self) -> bool {
        self.config().exists()
    }

    /// The kind of the issuing key, from its certificate.
    fn key_type(&self) -> Result<KeyType, Failure> {
        let damaged = |doing| format!("{doing} of {}", self.0.display());
        let text =
            fs::read(self.chain()).or_fail_doing(Class::Usage, damaged("cannot read the issuer chain"))?;
        let chain = pem::decode_all(pem::CERTIFICATE, text)
            .or_fail_doing(Class::Usage, damaged("cannot read the issuer chain"))?;
        let first = chain.first().map(Vec::as_slice).unwrap_or_default();
        let certificate = CertificateRef::parse(first)
            .or_fail_doing(Class::Usage, damaged("cannot read the issuing certificate"))?;
        let spki = certificate
            .spki()
            .or_fail_doing(Class::Usage, damaged("cannot read the issuing key"))?;
        Ok(spki.key_type())
    }
}

/// The home, made if it is not there.
pub(crate) fn open_or_make(start: &DevStart) -> Result<Home, Failure> {
    let folder = std::path::absolute(&start.home).or_fail(Class::Usage)?;
    // With links resolved, names in it stay good whatever the working folder is.
    let folder = folder.canonicalize().unwrap_or(folder);
    let home = Home::at(&folder);
    if !home.exists() {
        make(&home, start)?;
    }
    check_algorithm(&home, start.algorithm)?;
    repair_softhsm_conf(&home)?;
    Ok(home)
}

fn check_algorithm(home: &Home, wanted: Option<Algorithm>) -> Result<(), Failure> {
    let Some(wanted) = wanted.map(Algorithm::key_type) else {
        return Ok(());
    };
    let has = home.key_type()?;
    if has == wanted {
        return Ok(());
    }
    Err(Failure::text(
        Class::Usage,
        format!(
            "the CA of {} has a {has} key, but --algorithm says {wanted}; leave --algorithm out or \
             use another --home",
            home.path().display()
        ),
    ))
}

/// SoftHSM's file names the token folder absolutely: a home that was moved needs another.
fn repair_softhsm_conf(home: &Home) -> Result<(), Failure> {
    let conf = home.softhsm_conf();
    if !conf.exists() {
        return Ok(());
    }
    let folder = sealwright_hsm::softhsm::TokenFolder::new(home.tokens());
    if sealwright_hsm::softhsm::TokenFolder::from_config(&conf).is_ok_and(|now| now == folder) {
        return Ok(());
    }
    folder.write_config(&conf).or_fail(Class::Internal)
}

fn make(home: &Home, start: &DevStart) -> Result<(), Failure> {
    match fs::read_dir(home.path()).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::text(
                Class::Usage,
                format!(
                    "{} holds other things; name a folder that is new, empty, or a home",
                    home.path().display()
                ),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).or_fail_doing(Class::Usage, home.path().display()),
    }
    let algorithm = start.algorithm.unwrap_or(Algorithm::P256);
    let module = find_module(start.pkcs11_module.as_deref())?;
    let component = policy::baseline(start.policy.as_deref())?;

    let spinner = Spinner::start(format!("making a {} CA in a new token", algorithm.key_type()));
    let temporary = Temporary::beside(home.path())?;
    let made = Home::at(temporary.path());
    fill(&made, home, &module, algorithm, &component)?;
    match temporary.rename_to(home.path()) {
        Ok(()) => {}
        // Another start was faster: its home is as good.
        Err(_) if home.exists() => {}
        Err(error) => {
            return Err(error).or_fail_doing(Class::Usage, format!("cannot make {}", home.path().display()));
        }
    }
    spinner.done();
    notice(&format!("made {}", home.path().display()));
    Ok(())
}

/// Makes everything in `made`, which will become `home`.
fn fill(
    made: &Home,
    home: &Home,
    module: &Path,
    algorithm: Algorithm,
    component: &[u8],
) -> Result<(), Failure> {
    for (folder, mode) in [("policies", 0o755), ("gate", 0o700), ("front", 0o700)] {
        files::make_folder(&made.path().join(folder), mode)?;
    }
    files::write(&made.policy(), component, 0o644)?;
    for pin in [made.pin(), made.so_pin()] {
        files::write(&pin, new_pin()?.as_bytes(), 0o600)?;
    }
    jwt::make_issuer(made)?;

    let softhsm = is_softhsm(module);
    let label = if softhsm {
        "sealwright".to_owned()
    } else {
        format!("sealwright-{}", files::random_hex()?)
    };
    provision_in_child(made, module, &label, algorithm, softhsm)?;
    if softhsm {
        // The tokens move with the folder; the file that names them is written for their new place.
        let file = template::softhsm_conf(&home.tokens());
        files::write(&made.softhsm_conf(), file.as_bytes(), 0o644)?;
    }
    let fragment = made.ceremony().join("sealwright.toml");
    let keys = fs::read_to_string(&fragment).or_fail_doing(Class::Internal, fragment.display())?;
    let keys = template::Keys::from_fragment(&keys)
        .ok_or_else(|| Failure::text(Class::Internal, "the ceremony says nothing of its keys"))?;
    let config = template::config(&template::Values {
        module,
        token: &label,
        softhsm,
        keys: &keys,
        environment: &if softhsm { Vec::new() } else { module_environment() },
    });
    files::write(&made.config(), config.as_bytes(), 0o644)?;
    fs::set_permissions(made.path(), fs::Permissions::from_mode(0o711)).or_fail(Class::Internal)
}

/// The module's settings come from its environment, which this process must not change: a child has
/// its own. The child is this program.
fn provision_in_child(
    made: &Home,
    module: &Path,
    label: &str,
    algorithm: Algorithm,
    softhsm: bool,
) -> Result<(), Failure> {
    if softhsm {
        sealwright_hsm::softhsm::TokenFolder::new(made.tokens())
            .write_config(&made.softhsm_conf())
            .or_fail(Class::Internal)?;
    }
    let mut command = Command::new(files::own_program()?);
    command.args(provision::arguments(made.path(), module, label, algorithm));
    if softhsm {
        command.env("SOFTHSM2_CONF", made.softhsm_conf());
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .or_fail_doing(Class::Internal, "cannot start the child that makes the token")?;
    if status.success() {
        return Ok(());
    }
    let class = if status.code() == Some(2) {
        Class::Usage
    } else {
        Class::Internal
    };
    Err(Failure::text(
        class,
        "the token could not be made (the reason is above)",
    ))
}

pub(crate) fn find_module(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(module) = named {
        return module
            .canonicalize()
            .or_fail_doing(Class::Usage, format!("no PKCS#11 module {}", module.display()));
    }
    let found = SOFTHSM.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| {
        Failure::text(
            Class::Usage,
            "SoftHSM is not installed; install it (Debian: apt-get install softhsm2) or name a \
             module with --pkcs11-module FILE",
        )
    })
}

fn is_softhsm(module: &Path) -> bool {
    let name = module
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.contains("softhsm")
}

/// Variables by which known modules find their settings; the gate gets no other.
fn module_environment() -> Vec<(String, String)> {
    const PREFIXES: [&str; 9] = [
        "KRYOPTIC_",
        "P11_KIT_",
        "TPM2_PKCS11_",
        "YUBIHSM_PKCS11_",
        "CS_PKCS11_",
        "NFAST_",
        "CKNFAST_",
        "ChrystokiConfigurationPath",
        "SOFTHSM2_CONF",
    ];
    let known = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let text = |pair: (std::ffi::OsString, std::ffi::OsString)| {
        Some((pair.0.into_string().ok()?, pair.1.into_string().ok()?))
    };
    std::env::vars_os()
        .filter_map(text)
        .filter(|(name, _)| known(name))
        .collect()
}

/// 16 digits and letters, 64 bits: more than a token's tries allow to guess.
fn new_pin() -> Result<Zeroizing<String>, Failure> {
    Ok(Zeroizing::new(format!(
        "{}{}",
        files::random_hex()?,
        files::random_hex()?
    )))
}
