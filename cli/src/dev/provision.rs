//! The child of `sealwright dev` that makes the token, the keys in it, and their certificates.

use std::{ffi::OsString, path::Path, process::ExitCode, time::Duration};

use sealwright_hsm::{
    KeyHandle, Metrics, Pin, PinSource, PoolConfig, SessionPool, Signable, Token, TokenConfig, TokenSelector,
    provision, softhsm::TokenFolder,
};
use sealwright_identity::{Clock, KeyType, SerialNumber, SystemClock, Timestamp, Validity};
use sealwright_x509::{
    AuthorityFields, AuthorityTbs, BACKDATING, IssuerChain, SignatureAlgorithm, name::authority_name, pem,
};

use super::home::Home;
use crate::{
    args::{Algorithm, ProvisionArgs},
    failure::{Class, Failure, OrFail},
    files,
};

const DAY: Duration = Duration::from_secs(86_400);
const ROOT_LIFE: Duration = DAY.saturating_mul(3650);
const ISSUER_LIFE: Duration = DAY.saturating_mul(1825);

/// RSA keys take seconds to make and milliseconds to sign with.
const SIGN_DEADLINE: Duration = Duration::from_secs(30);

/// The child's command line.
pub(super) fn arguments(home: &Path, module: &Path, label: &str, algorithm: Algorithm) -> Vec<OsString> {
    vec![
        "dev-provision".into(),
        "--home".into(),
        home.into(),
        "--module".into(),
        module.into(),
        "--label".into(),
        label.into(),
        "--algorithm".into(),
        algorithm.name().into(),
    ]
}

pub(crate) fn run(args: &ProvisionArgs) -> Result<ExitCode, Failure> {
    let home = Home::at(&args.home);
    let token = make_token(&home, args)?;
    let key_type = args.algorithm.key_type();
    let key = |label: &str, id: u8, key_type: KeyType| {
        provision::generate_key_pair(&token, label, &[id], key_type)
            .or_fail_doing(Class::Usage, format!("cannot make the {label} key"))
    };
    let issuing = key("issuing", 1, key_type)?;
    let root = key("root", 2, key_type)?;
    key("health", 3, KeyType::P256)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    runtime.block_on(certify(&home, token, &root, &issuing))?;
    if let Some(folder) = TokenFolder::from_environment() {
        folder
            .keep_copy()
            .or_fail_doing(Class::Internal, "cannot keep a copy of the token")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn make_token(home: &Home, args: &ProvisionArgs) -> Result<Token, Failure> {
    let read = |path| PinSource::File(path).read(&args.label).or_fail(Class::Internal);
    let (so_pin, pin): (Pin, Pin) = (read(home.so_pin())?, read(home.pin())?);
    provision::init_token(&args.module, &args.label, &so_pin, &pin)
        .or_fail_doing(Class::Usage, "cannot initialise a token")?;
    let config = TokenConfig::new(
        &args.module,
        TokenSelector::Label(args.label.clone()),
        PinSource::File(home.pin()),
    );
    Token::open(&config, &home.path().join("gate")).or_fail_doing(Class::Usage, "cannot open the new token")
}

/// Makes the root's and the issuer's certificates, verifies and writes them.
async fn certify(home: &Home, token: Token, root: &KeyHandle, issuing: &KeyHandle) -> Result<(), Failure> {
    let config = PoolConfig {
        sessions: 1,
        queue: 4,
        deadline: SIGN_DEADLINE,
    };
    let pool = SessionPool::start(token, config, Metrics::default());
    let outcome = certify_with(&pool, home, root, issuing).await;
    // A process that ends while a worker is inside the module may never end.
    pool.close(SIGN_DEADLINE).await;
    outcome
}

async fn certify_with(
    pool: &SessionPool,
    home: &Home,
    root: &KeyHandle,
    issuing: &KeyHandle,
) -> Result<(), Failure> {
    let now = SystemClock.now();
    let root_name = authority_name(Some("Sealwright"), "Development Root");
    let issuer_name = authority_name(Some("Sealwright"), "Development Issuing CA");

    let root_tbs = authority(root, root, &root_name, &root_name, None, (1, ROOT_LIFE), now)?;
    let root_der = sign(pool, root, &root_tbs).await?;
    let aki = Some(root_tbs.ski().to_vec());
    let issuer_tbs = authority(
        issuing,
        root,
        &issuer_name,
        &root_name,
        aki,
        (0, ISSUER_LIFE),
        now,
    )?;
    let issuer_der = sign(pool, root, &issuer_tbs).await?;

    let chain = pem::encode(pem::CERTIFICATE, &issuer_der);
    let roots = pem::encode(pem::CERTIFICATE, &root_der);
    IssuerChain::load(chain.as_bytes(), roots.as_bytes(), now)
        .or_fail_doing(Class::Internal, "the new chain does not verify")?;
    files::write(&home.chain(), chain.as_bytes(), 0o644)?;
    files::write(&home.roots(), roots.as_bytes(), 0o644)
}

fn authority(
    subject: &KeyHandle,
    issuer: &KeyHandle,
    subject_name: &[u8],
    issuer_name: &[u8],
    aki: Option<Vec<u8>>,
    (path_len, life): (u8, Duration),
    now: Timestamp,
) -> Result<AuthorityTbs, Failure> {
    let whole = Timestamp::from_unix_seconds(now.unix_seconds());
    let validity = Validity::new(whole.saturating_sub(BACKDATING), whole.saturating_add(life));
    AuthorityTbs::build(&AuthorityFields {
        serial: SerialNumber::random().or_fail(Class::Internal)?,
        subject_der: subject_name.to_vec(),
        issuer_der: issuer_name.to_vec(),
        validity: validity.or_fail(Class::Internal)?,
        spki_der: subject.spki_der().to_vec(),
        path_len: Some(path_len),
        aki,
        signature_algorithm: SignatureAlgorithm::for_ca_key(issuer.key_type()),
    })
    .or_fail(Class::Internal)
}

async fn sign(pool: &SessionPool, key: &KeyHandle, tbs: &AuthorityTbs) -> Result<Vec<u8>, Failure> {
    let signature = pool
        .sign(key, Signable::Authority(tbs.clone()), SIGN_DEADLINE)
        .await
        .or_fail_doing(Class::Internal, "the token did not sign")?;
    Ok(tbs.assemble(&signature))
}
