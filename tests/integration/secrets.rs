//! Everything a signer lets out, searched for what it must keep: PINs, tokens, private keys.
//!
//! The signer runs at its most talkative level through issuance, renewal, refusals and faults. Then its log,
//! its processes in `/proc`, its pages, its answers, its ledger and its home are searched, each for every
//! secret in every form.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose as forms};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustix::process::Signal;
use sealwright_tests::{
    Client, Csr, Home, Process, Signer,
    client::request,
    dev_token,
    fault::{Faulty, WEB},
    run,
    signer::signal,
    within,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// All of this program, and of the libraries that see tokens and keys.
const LEVEL: &str = "trace,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,tower=trace,rustls=trace,sqlx=trace,cryptoki=trace";

const WRONG_PIN: &str = "wrong-8c1f4e";
const VENDOR: &str = "vendor-password-5d1e77";

/// Files of a home that hold secrets, by design.
const HOLDERS: [&str; 8] = [
    "pin",
    "so-pin",
    "pin.good",
    "jwt-issuer.key",
    "gate.env",
    "front/serving-key.pem",
    "token",
    "token.copy",
];

/// Bytes as text of the same length, so that the search is the standard library's.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// What must not be found, each with a name.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// As it stands, and as hex and base64.
    fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= 8, "{name} would be found anywhere");
        let hex = hex::encode(secret);
        let without_end = |encoded: String| {
            // What follows it would change its last letters.
            encoded.trim_end_matches('=').to_owned()
        };
        for (form, found) in [
            ("itself", text(secret)),
            ("hex", hex.clone()),
            ("HEX", hex.to_uppercase()),
            ("base64", without_end(forms::STANDARD.encode(secret))),
            ("base64url", without_end(forms::URL_SAFE.encode(secret))),
            (
                "numbers",
                format!("{secret:?}").trim_matches(['[', ']']).to_owned(),
            ),
        ] {
            self.0.push((format!("{name} as {form}"), found));
        }
    }

    /// The signature of a token: the rest is no secret.
    fn add_token(&mut self, name: &str, token: &str) {
        let signature = token.rsplit('.').next().unwrap();
        self.0
            .push((format!("signature of {name}"), signature.to_owned()));
        if let Ok(bytes) = forms::URL_SAFE_NO_PAD.decode(signature) {
            self.add(&format!("signature of {name}"), &bytes);
        }
    }

    /// A PKCS#8 key of P-256: the whole, its lines, and the number alone.
    fn add_key(&mut self, name: &str, pem: &str) {
        let (_, der) = der::pem::decode_vec(pem.as_bytes()).unwrap();
        self.add(name, &der);
        // ECPrivateKey: version 1, then an OCTET STRING of 32 bytes. The public key follows.
        let start = der.windows(5).position(|part| part == [2, 1, 1, 4, 32]).unwrap() + 5;
        let lines = pem.lines().filter(|line| !line.starts_with("--"));
        for (number, line) in lines.enumerate() {
            // A line of PEM is 48 bytes.
            if number * 48 < start + 32 && (number + 1) * 48 > start {
                self.0.push((format!("a line of {name}"), line.to_owned()));
            }
        }
        self.add(&format!("number of {name}"), &der[start..start + 32]);
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, bytes: &[u8]) {
        let haystack = text(bytes);
        for (name, secret) in &self.0 {
            if let Some(at) = haystack.find(secret.as_str()) {
                let around = &bytes[at.saturating_sub(200)..(at + 40).min(bytes.len())];
                panic!("{name} is in {place}: …{}…", String::from_utf8_lossy(around));
            }
        }
    }
}

/// What an exercise gave away.
struct Told {
    secrets: Secrets,
    answers: String,
}

/// A token of a key that nobody trusts.
fn foreign(like: &str) -> String {
    let claims = forms::URL_SAFE_NO_PAD
        .decode(like.split('.').nth(1).unwrap())
        .unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let key = EncodingKey::from_ec_der(&key.serialize_der());
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
}

/// Asks for everything that is granted and much that is refused.
async fn exercise(home: &Path, server: &str) -> Told {
    let mut secrets = Secrets::default();
    for name in ["pin", "so-pin"] {
        secrets.add(
            name,
            fs::read_to_string(home.join(name)).unwrap().trim().as_bytes(),
        );
    }
    for name in ["jwt-issuer.key", "front/serving-key.pem"] {
        secrets.add_key(name, &fs::read_to_string(home.join(name)).unwrap());
    }
    let good = dev_token(home, "default", "web");
    let denied = dev_token(home, "kube-system", "web");
    let foreign = foreign(&good);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    let tampered = format!("{head}.{turned}");
    let nonsense = "nonsense.that-somebody-took-for-a.TokenOf4711AndMore".to_owned();
    let tokens = [
        ("good", &good),
        ("denied", &denied),
        ("foreign", &foreign),
        ("tampered", &tampered),
        ("nonsense", &nonsense),
    ];
    for (name, token) in tokens {
        secrets.add_token(name, token);
    }

    let roots = home.join("roots.pem");
    let client = Client::connect_to(server, &roots).await;
    let csr = Csr::ztunnel(WEB);
    let mut answers = Vec::new();
    let chain = client.create(&good, &csr.pem, 3600).await.unwrap();
    for (_, token) in &tokens[1..] {
        let status = client.create(token, &csr.pem, 3600).await.unwrap_err();
        answers.push(format!("{status:?} {status}"));
    }
    for (csr, seconds) in [
        ("no csr", 60),
        (csr.pem.as_str(), -5),
        (csr.pem.as_str(), 400 * 86400),
    ] {
        let status = client.create(&good, csr, seconds).await.unwrap_err();
        answers.push(format!("{status:?} {status}"));
    }
    for header in ["authorization", "Authorization-Copy", "cookie"] {
        let header: &'static str = header.to_ascii_lowercase().leak();
        let basic = format!("Basic {good}");
        let status = client
            .create_with(&[(header, &basic)], request(&csr.pem, 60))
            .await
            .unwrap_err();
        answers.push(format!("{status:?} {status}"));
    }
    let presented = chain[..chain.len() - 1].concat();
    let key = csr.key.serialize_pem();
    secrets.add_key("the workload's key", &key);
    let renewing = Client::connect_as(server, &roots, &presented, &key).await;
    renewing
        .create_with(&[], request(&Csr::ztunnel(WEB).pem, 3600))
        .await
        .unwrap();
    let mut health = HealthClient::new(client.channel());
    let health = health.check(HealthCheckRequest::default()).await.unwrap();
    answers.push(format!("{health:?}"));
    Told {
        secrets,
        answers: answers.join("\n"),
    }
}

impl Told {
    fn search_processes(&self, supervisor: u32) {
        for process in Process::all_of(supervisor) {
            for file in [
                "cmdline",
                "environ",
                "status",
                "limits",
                "coredump_filter",
                "maps",
            ] {
                let Ok(bytes) = fs::read(format!("/proc/{}/{file}", process.0)) else {
                    continue;
                };
                let place = format!("{file} of {}", process.role());
                self.secrets.are_not_in(&place, &bytes);
                let gates = file == "environ" && process.role() == "gate";
                assert!(gates || !text(&bytes).contains(VENDOR), "{place}");
            }
            let limits = process.file("limits").unwrap();
            let core = limits.lines().find(|line| line.starts_with("Max core file size"));
            assert_eq!(core.unwrap().split_whitespace().rev().nth(1), Some("0"));
            // Nobody, who is the front's user, can look into none of them.
            for file in ["environ", "mem", "maps", "fd"] {
                let output = Command::new("setpriv")
                    .args([
                        "--reuid",
                        "65534",
                        "--regid",
                        "65534",
                        "--clear-groups",
                        "ls",
                        "-l",
                    ])
                    .arg(format!("/proc/{}/{file}/.", process.0))
                    .output()
                    .unwrap();
                assert!(!output.status.success(), "{file} of {}", process.role());
            }
        }
    }

    /// The ledger by its commands, and every file of the home.
    fn search_home(&self, home: &Path) {
        let name = home.to_str().unwrap();
        for arguments in [
            &["log", "list", "--output", "json"][..],
            &["log", "list"],
            &["log", "verify"],
            &["log", "export"],
            &["log", "show", "#2"],
            &["log", "show", "#3", "--output", "json"],
        ] {
            let mut all = arguments.to_vec();
            all.extend(["--home", name]);
            let outcome = run(&all);
            assert_eq!(outcome.code, 0, "{arguments:?}: {}", outcome.stderr);
            assert!(!outcome.stdout.is_empty(), "{arguments:?}");
            let said = [outcome.stdout, outcome.stderr].concat();
            self.secrets.are_not_in(&arguments.join(" "), said.as_bytes());
            assert!(!said.contains(VENDOR), "{arguments:?}");
        }
        let mut folders = vec![home.to_owned()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let place = path.strip_prefix(home).unwrap().to_str().unwrap().to_owned();
                if HOLDERS.contains(&place.as_str()) {
                    let mode = fs::metadata(&path).unwrap().permissions().mode();
                    assert_eq!(mode & 0o077, 0, "{place}: {mode:o}");
                } else if path.is_dir() {
                    folders.push(path);
                } else if !place.ends_with(".wasm") {
                    files += 1;
                    let bytes = fs::read(&path).unwrap();
                    self.secrets.are_not_in(&place, &bytes);
                    assert!(!text(&bytes).contains(VENDOR), "{place}");
                }
            }
        }
        assert!(files > 5, "{files}");
    }
}

fn talkative(home: &Home, format: &str) {
    home.append(&format!("[log]\nlevel = {LEVEL:?}\nformat = {format:?}"));
    home.replace("[gate]\n", "[gate]\nenv_file = \"gate.env\"\n");
    let file = home.file("gate.env");
    fs::write(&file, format!("# the vendor's\nVENDOR_PASSWORD={VENDOR}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn no_secret_leaves_a_signer_that_says_all_it_can() {
    let faulty = Faulty::new();
    let home = &faulty.home;
    talkative(home, "json");
    let leaked = [("DATABASE_PASSWORD", "leaked-from-a-shell-91")];
    let serving = home.serve_with(&[], &leaked);
    serving.wait_until(200, "").await;
    let mut told = exercise(home.path(), serving.grpc()).await;
    told.secrets.add("wrong PIN", WRONG_PIN.as_bytes());
    told.search_processes(serving.pid());
    let of = |role: &str| {
        *Process::all_of(serving.pid())
            .iter()
            .find(|process| process.role() == role)
            .unwrap()
    };
    let environment = |role: &str| of(role).file("environ").unwrap();
    assert!(
        environment("gate").contains(VENDOR),
        "the module gets what it needs"
    );
    for role in ["gate", "front"] {
        assert!(!environment(role).contains("leaked-from-a-shell"), "{role}");
    }

    // Faults: what the token and the module say is logged too.
    let client = Client::connect_to(serving.grpc(), &home.file("roots.pem")).await;
    let token = dev_token(home.path(), "default", "web");
    told.secrets.add_token("another", &token);
    let csr = Csr::ztunnel(WEB).pem;
    for fault in ["sign=general_error", "sign=logout count:1", "sign=absurd_length"] {
        faulty.inject(fault);
        if let Err(status) = client.create(&token, &csr, 60).await {
            told.answers += &format!("{status:?} {status}");
        }
        told.answers += &serving.page("/readyz").await.1;
        faulty.lift();
        serving.wait_until(200, "").await;
        let mut signs = false;
        for _ in 0..400 {
            signs = client.create(&token, &csr, 60).await.is_ok();
            if signs {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(signs, "{fault}:\n{}", serving.log());
    }
    // A wrong PIN.
    fs::rename(home.file("pin"), home.file("pin.good")).unwrap();
    fs::write(home.file("pin"), WRONG_PIN).unwrap();
    fs::set_permissions(home.file("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    signal(of("gate").0, Signal::KILL);
    told.answers += &serving.wait_until(503, "PIN").await;
    for page in ["/readyz", "/livez", "/metrics", "/bundle"] {
        told.answers += &serving.page(page).await.1;
    }
    let log = serving.log();
    for needed in [
        "TRACE",
        "DEBUG",
        "a certificate was issued",
        "a thread panicked",
        "PIN",
    ] {
        assert!(log.contains(needed), "the log has not even {needed:?}");
    }
    told.secrets.are_not_in("the log", log.as_bytes());
    assert!(!log.contains(VENDOR));
    told.secrets.are_not_in("the answers", told.answers.as_bytes());
    // With the WAL that a running gate has beside its ledger.
    assert!(home.file("gate/ledger.db").is_file());
    told.search_home(home.path());
    assert_eq!(serving.stop(), 0);
    let (_, items) = home.check();
    told.secrets
        .are_not_in("sealwright check", format!("{items:?}").as_bytes());
}

#[tokio::test]
async fn a_log_for_people_says_no_more() {
    let home = Home::new();
    talkative(&home, "pretty");
    let signer = Signer::dev_in(home.path(), &[]);
    let told = exercise(home.path(), signer.grpc()).await;
    told.search_processes(signer.pid());
    let log = signer.log();
    assert!(log.contains("TRACE") && log.contains("a certificate was issued"));
    told.secrets.are_not_in("the log", log.as_bytes());
    told.secrets.are_not_in("the answers", told.answers.as_bytes());
    told.search_home(home.path());
    assert!(within(|| (signer.children("gate").len() == 1).then_some(())).is_some());
    assert_eq!(signer.stop(), 0);
}
