//! Generates the code again and compares it with what is checked in.

use std::{fs, path::Path};

use prost::Message as _;

const PUBLIC: [&str; 4] = [
    "istio/ca.proto",
    "istio/ca_service.proto",
    "sealwright/v1/signing.proto",
    "sealwright/policy/v1/policy.proto",
];
const PRIVATE: [&str; 1] = ["sealwright/gate/v1/gate.proto"];

#[test]
fn checked_in_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = root.join("protos");
    let scratch = tempfile::tempdir().unwrap();

    let all = protox::compile(PUBLIC.iter().chain(&PRIVATE), [&protos]).unwrap();
    tonic_prost_build::configure()
        .bytes(".sealwright.gate.v1.IssueRequest.tbs")
        .bytes(".sealwright.gate.v1.IssueRequest.csr")
        .bytes(".sealwright.gate.v1.Decision.input")
        .bytes(".sealwright.gate.v1.Credential.token")
        .skip_debug([".sealwright.gate.v1.Credential"])
        .bytes(".sealwright.gate.v1.Issued")
        .bytes(".sealwright.gate.v1.PolicyUpload.data")
        .bytes(".sealwright.gate.v1.PolicyFetched.data")
        .bytes(".sealwright.policy.v1.UploadRequest.data")
        .build_transport(true)
        .out_dir(scratch.path())
        .compile_fds(all)
        .unwrap();
    let public = protox::compile(PUBLIC, [&protos]).unwrap();
    fs::write(
        scratch.path().join("public.descriptors.bin"),
        public.encode_to_vec(),
    )
    .unwrap();

    let kept = root.join("src/gen");
    for entry in fs::read_dir(scratch.path()).unwrap() {
        let made = entry.unwrap().path();
        let name = made.file_name().unwrap();
        if name == "google.protobuf.rs" {
            continue;
        }
        let target = kept.join(name);
        if std::env::var_os("UPDATE_PROTO").is_some() {
            fs::copy(&made, &target).unwrap();
        }
        let same = fs::read(&target).ok() == Some(fs::read(&made).unwrap());
        assert!(
            same,
            "{} is stale: run UPDATE_PROTO=1 cargo test -p sealwright-proto",
            target.display()
        );
    }
}
