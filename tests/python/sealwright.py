"""What the tests share: running signers, and a way to ask them."""

import contextlib
import json
import pathlib
import select
import signal
import subprocess

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEALWRIGHT = ROOT / "target" / "debug" / "sealwright"


@contextlib.contextmanager
def running(folder, *arguments):
    """A development signer in a folder of its own; its ready line."""
    home = folder / "home"
    command = ["setpriv", "--pdeathsig", "TERM", SEALWRIGHT, "dev", "--home", home]
    command += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", *arguments]
    with open(f"{home}.log", "wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    readable, _, _ = select.select([process.stdout], [], [], 60)
    assert readable, pathlib.Path(f"{home}.log").read_text()
    yield json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def token(signer):
    command = [SEALWRIGHT, "dev", "token", "--home", signer["home"], "--namespace", "default"]
    return subprocess.check_output(command + ["--service-account", "web"], text=True).strip()


def request(key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ignored")])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest)
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
