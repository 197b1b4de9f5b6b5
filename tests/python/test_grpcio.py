"""An independent client: grpcio with code made from the wire definitions, and pkilint on what it gets."""

import json
import pathlib
import select
import signal
import subprocess
import sys

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEALWRIGHT = ROOT / "target" / "debug" / "sealwright"


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    out = tmp_path_factory.mktemp("stubs")
    protos = ROOT / "proto" / "protos"
    arguments = ["protoc", f"-I{protos}", f"-I{pathlib.Path(protoc.__file__).parent / '_proto'}"]
    arguments += [f"--python_out={out}", f"--grpc_python_out={out}", "istio/ca.proto"]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, str(out))
    from istio import ca_pb2, ca_pb2_grpc

    return ca_pb2, ca_pb2_grpc


@pytest.fixture(scope="session")
def signer(tmp_path_factory):
    home = tmp_path_factory.mktemp("signer") / "home"
    command = ["setpriv", "--pdeathsig", "TERM", SEALWRIGHT, "dev", "--home", home]
    command += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    log = open(f"{home}.log", "wb")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    readable, _, _ = select.select([process.stdout], [], [], 60)
    assert readable, pathlib.Path(f"{home}.log").read_text()
    yield json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def token(signer):
    command = [SEALWRIGHT, "dev", "token", "--home", signer["home"], "--namespace", "default"]
    return subprocess.check_output(command + ["--service-account", "web"], text=True).strip()


def request():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ignored")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return key, csr.public_bytes(serialization.Encoding.PEM).decode()


def channel(signer, chain=None, key=None):
    roots = pathlib.Path(signer["trust_bundle"]).read_bytes()
    return grpc.secure_channel(signer["grpc"], grpc.ssl_channel_credentials(roots, key, chain))


def create(stubs, signer, csr, *, metadata=(), chain=None, key=None):
    ca_pb2, ca_pb2_grpc = stubs
    with channel(signer, chain, key) as connection:
        stub = ca_pb2_grpc.IstioCertificateServiceStub(connection)
        message = ca_pb2.IstioCertificateRequest(csr=csr, validity_duration=3600)
        message.metadata["CertSigner"] = ""
        return list(stub.CreateCertificate(message, metadata=metadata, timeout=30).cert_chain)


def test_issues_and_renews(stubs, signer):
    key, csr = request()
    first = create(stubs, signer, csr, metadata=[("authorization", f"Bearer {token(signer)}")])
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    second = create(stubs, signer, csr, chain="".join(first[:-1]).encode(), key=pem)
    leaf = x509.load_pem_x509_certificate(second[0].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert [name.value for name in names.value] == ["spiffe://cluster.local/ns/default/sa/web"]
    assert leaf.public_key() == key.public_key()


def test_refuses_without_a_credential(stubs, signer):
    with pytest.raises(grpc.RpcError) as refused:
        create(stubs, signer, request()[1])
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_pkilint_finds_nothing(stubs, signer, tmp_path):
    chain = create(stubs, signer, request()[1], metadata=[("authorization", f"Bearer {token(signer)}")])
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(chain[0])
    linter = pathlib.Path(sys.executable).parent / "lint_pkix_cert"
    output = subprocess.run(
        [linter, "lint", "-s", "WARNING", "-f", "JSON", leaf], text=True, stdout=subprocess.PIPE, check=False
    ).stdout
    # pkilint's URL checker knows no spiffe scheme: a false alarm for every workload certificate.
    codes = {
        finding["code"]
        for result in json.loads(output)["results"]
        for finding in result["finding_descriptions"]
    } - {"pkix.invalid_uri_syntax"}
    assert not codes, output
