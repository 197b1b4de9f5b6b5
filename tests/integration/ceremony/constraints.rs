//! URI name constraints: why no certificate of a ceremony has one. What three implementations say of chains that do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, UnixTime, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use sealwright_tests::ceremony::Room;

const ID: &str = "spiffe://example.org/ns/default/sa/web";

#[allow(
    clippy::print_stdout,
    reason = "what was seen, or was not tried, is read from the test's output"
)]
fn figure(text: &str) {
    println!("figure: {text}");
}

#[test]
fn who_asks_for_uri_name_constraints_is_told_why_there_are_none() {
    let mut room = Room::small();
    room.replace(
        "path_length = 1",
        "path_length = 1\npermitted_uri_domains = [\"example.org\"]",
    );
    let linted = room.sealwright(&["ceremony", "plan", "lint", &room.path("plan.toml")]);
    let said = format!("{}{}", linted.stdout, linted.stderr);
    assert!(
        said.contains("uri-name-constraints") && said.contains("rustls-webpki"),
        "{said}"
    );
    room.finish();
    let text = room
        .openssl(&["x509", "-noout", "-text", "-in", "certificates/root-ca.pem"])
        .unwrap();
    assert!(!text.contains("Name Constraints"), "{text}");
}

/// A root, a CA below it with these constraints, and a leaf with this name.
fn chain(folder: &Path, constraints: &str, name: &str) {
    fs::create_dir_all(folder).unwrap();
    let constraints = match constraints {
        "" => String::new(),
        some => format!("nameConstraints = critical, {some}\n"),
    };
    let extensions = format!(
        "[ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n\
         subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n{constraints}\
         [leaf]\nbasicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n\
         extendedKeyUsage = serverAuth, clientAuth\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n\
         subjectAltName = {name}\n"
    );
    fs::write(folder.join("ext"), extensions).unwrap();
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {said}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout root.key -out roots.pem -subj /CN=Root -days 30 -addext keyUsage=critical,keyCertSign,cRLSign"
    ));
    openssl(&format!("req {key} -keyout ca.key -out ca.csr -subj /CN=Issuing"));
    openssl(&format!("req {key} -keyout key.pem -out leaf.csr -subj /CN=web"));
    for (section, request, parent, parent_key, out) in [
        ("ca", "ca.csr", "roots.pem", "root.key", "ca.pem"),
        ("leaf", "leaf.csr", "ca.pem", "ca.key", "leaf.pem"),
    ] {
        openssl(&format!(
            "x509 -req -in {request} -CA {parent} -CAkey {parent_key} -CAcreateserial -days 20 -extfile ext \
             -extensions {section} -out {out}"
        ));
    }
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    fs::write(folder.join("chain.pem"), read("leaf.pem") + &read("ca.pem")).unwrap();
}

fn by_openssl(folder: &Path) -> Result<(), String> {
    let output = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-CAfile",
            "roots.pem",
            "-untrusted",
            "ca.pem",
            "leaf.pem",
        ])
        .current_dir(folder)
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// As the server of a connection verifies its client: no name is asked for but what the certificate has.
fn by_webpki(folder: &Path) -> Result<(), String> {
    let read = |name: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(folder.join(name))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read("roots.pem"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .unwrap();
    let chain = read("chain.pem");
    let (leaf, above) = chain.split_first().unwrap();
    let verified = verifier.verify_client_cert(leaf, above, UnixTime::now());
    verified.map(drop).map_err(|error| format!("{error:?}"))
}

/// Go's verifier as a program in `folder`; none where there is no Go, or one that is too old.
fn go_program(folder: &Path) -> Option<PathBuf> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("go");
    let program = folder.join("peer");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("GOFLAGS", "-mod=readonly")
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .output()
        .ok()?;
    if built.status.success() {
        return Some(program);
    }
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    figure(&format!(
        "URI name constraints: this Go does not build the verifier: {said}"
    ));
    None
}

fn by_go(program: &Path, folder: &Path) -> Result<(), String> {
    let output = Command::new(program)
        .args(["verify", "-id", ID, "-folder"])
        .arg(folder)
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_verifiers_say_of_uri_name_constraints() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("URI:{ID}");
    let go = go_program(folder.path());
    if go.is_none() {
        figure("URI name constraints: without Go, what it says was skipped");
    }
    // Whether OpenSSL and Go accept it, and whether webpki does.
    for (case, constraints, others, webpki) in [
        ("none", "", true, true),
        ("permits-it", "permitted;URI:example.org", true, false),
        ("permits-another", "permitted;URI:other.example", false, false),
        ("excludes-it", "excluded;URI:example.org", false, false),
        ("excludes-another", "excluded;URI:other.example", true, false),
    ] {
        let folder = folder.path().join(case);
        chain(&folder, constraints, &uri);
        let found = by_openssl(&folder);
        assert_eq!(found.is_ok(), others, "OpenSSL, {case}: {found:?}");
        let found = by_webpki(&folder);
        assert_eq!(found.is_ok(), webpki, "webpki, {case}: {found:?}");
        let why = found.err().unwrap_or_default();
        assert!(webpki || why.contains("NameConstraintViolation"), "{case}: {why}");
        if let Some(program) = &go {
            let found = by_go(program, &folder);
            assert_eq!(found.is_ok(), others, "Go, {case}: {found:?}");
            let why = found.err().unwrap_or_default();
            assert!(others || why.contains("constraint"), "{case}: {why}");
        }
    }
    // Only names of that form are constrained.
    let dns = folder.path().join("dns");
    chain(&dns, "permitted;URI:example.org", "DNS:web.example.org");
    by_openssl(&dns).unwrap();
    by_webpki(&dns).unwrap();
    figure(&format!(
        "URI name constraints: OpenSSL{} keep to them, webpki refuses every URI name below one",
        if go.is_some() { " and Go" } else { "" }
    ));
}
