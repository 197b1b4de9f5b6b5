"""An independent client: grpcio with code made from the wire definitions."""

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sealwright import create, request, token


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
