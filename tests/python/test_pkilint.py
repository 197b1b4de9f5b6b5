"""pkilint over every profile: each kind of CA key, each kind of workload key, serving, issuing, root."""

import json
import pathlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkilint.bin import lint_pkix_cert

from sealwright import create, request, running, token

# What is found and does not apply, with the reason.
NOT_OURS = {
    # The checker of URLs knows no spiffe scheme: a false alarm for every workload certificate.
    "pkix.invalid_uri_syntax": {"p256", "p384", "ed25519", "rsa2048"},
    # A development signer is called localhost, a name of one label.
    "pkix.invalid_domain_name_syntax": {"serving"},
}


def findings(certificate, capsys):
    lint_pkix_cert.main(["lint", "-s", "WARNING", "-f", "JSON", str(certificate)])
    results = json.loads(capsys.readouterr().out)["results"]
    assert results or certificate.stem not in NOT_OURS["pkix.invalid_uri_syntax"]
    return {finding["code"] for result in results for finding in result["finding_descriptions"]}


@pytest.mark.parametrize("algorithm", ["p256", "p384", "rsa3072"])
def test_pkilint_finds_nothing(algorithm, stubs, tmp_path, capsys):
    keys = {
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "rsa2048": rsa.generate_private_key(65537, 2048),
    }
    with running(tmp_path, "--algorithm", algorithm) as signer:
        metadata = [("authorization", f"Bearer {token(signer)}")]
        for name, key in keys.items():
            chain = create(stubs, signer, request(key)[1], metadata=metadata)
            (tmp_path / f"{name}.pem").write_text(chain[0])
        home = pathlib.Path(signer["home"])
        for name, file in [
            ("serving", home / "front" / "serving.pem"),
            ("issuing", home / "issuer-chain.pem"),
            ("root", home / "roots.pem"),
        ]:
            first, end, _ = file.read_text().partition("-----END CERTIFICATE-----\n")
            (tmp_path / f"{name}.pem").write_text(first + end)
    found = {
        (file.stem, code)
        for file in tmp_path.glob("*.pem")
        for code in findings(file, capsys)
        if file.stem not in NOT_OURS.get(code, ())
    }
    assert not found
