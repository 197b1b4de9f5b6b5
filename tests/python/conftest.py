"""Fixtures: the client's code made from the wire definitions, and a signer."""

import pathlib
import sys

import pytest
from grpc_tools import protoc

from sealwright import ROOT, running


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
    with running(tmp_path_factory.mktemp("signer")) as ready:
        yield ready
