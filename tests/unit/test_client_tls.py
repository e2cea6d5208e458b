"""TLS: whom the client trusts, and that it keeps its key from others."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandlot import AsyncClient, Client, errors
from tests.fakes.engine import OPERATOR
from tests.fakes.server import Server


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[bytes, bytes]:
    """A self-signed certificate for 127.0.0.1 and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandlot test")])
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.fixture
def tls_server(
    certificate: tuple[bytes, bytes], nobodys_environment: Path
) -> Iterator[Server]:
    chain, key = certificate
    with Server(grpc.ssl_server_credentials([(key, chain)])) as running:
        yield running


@pytest.fixture
def ca_file(certificate: tuple[bytes, bytes], tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_bytes(certificate[0])
    return file


async def test_a_given_authority_is_trusted(tls_server: Server, ca_file: Path) -> None:
    async with AsyncClient(
        tls_server.address,
        ca_file=ca_file,
        access_key_id=OPERATOR[0],
        secret_access_key=OPERATOR[1],
    ) as client:
        assert (await client.status()).mode == "rootless"


def test_an_unknown_authority_never_gets_to_see_the_key(tls_server: Server) -> None:
    with (
        Client(
            tls_server.address,
            tls=True,
            access_key_id=OPERATOR[0],
            secret_access_key=OPERATOR[1],
            deadline=20,
        ) as client,
        pytest.raises(errors.ConnectionFailed),
    ):
        client.dry_run("hello")

    assert tls_server.engine.metadata == []


def test_a_ca_file_that_is_not_there_is_named(nobodys_environment: Path) -> None:
    with pytest.raises(errors.InvalidParameter, match=r"gone\.pem"):
        Client("grpcs://engine.example:9071", ca_file="gone.pem")
