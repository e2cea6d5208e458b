"""TLS: whom the client trusts, and that it keeps its key from others."""

import asyncio
import json
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
from sandlot_engine.assembly.certificates import own_certificate
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


@pytest.mark.usefixtures("nobodys_environment")
def test_a_certificate_for_another_name_never_gets_to_see_the_key(
    tmp_path: Path,
) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("engine.example")])
    chain, key = issued(names)
    (tmp_path / "ca.pem").write_bytes(chain)
    with Server(grpc.ssl_server_credentials([(key, chain)])) as server:
        with (
            Client(
                server.address,
                ca_file=tmp_path / "ca.pem",
                access_key_id=OPERATOR[0],
                secret_access_key=OPERATOR[1],
                deadline=20,
            ) as client,
            pytest.raises(errors.ConnectionFailed, match="is for another name"),
        ):
            client.dry_run("hello")

        assert server.engine.metadata == []


def test_a_ca_file_that_is_not_there_is_named(nobodys_environment: Path) -> None:
    client = Client("grpcs://engine.example:9071", ca_file="gone.pem")

    with pytest.raises(errors.InvalidParameter, match=r"gone\.pem"):
        client.dry_run("hello")


# --- of an engine on this machine ---------------------------------------------------


def issued(names: x509.SubjectAlternativeName | None) -> tuple[bytes, bytes]:
    """A certificate that an authority has signed which nobody here knows, behind it
    that of the authority; and its key."""
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority, own = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        for name in ("an authority", "engine.example")
    )
    chain = b""
    for subject, key in ((own, keys[0]), (authority, keys[1])):
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=1))
        )
        if subject == own and names is not None:
            made = made.add_extension(names, critical=False)
        chain += made.sign(keys[1], hashes.SHA256()).public_bytes(
            serialization.Encoding.PEM
        )
    return chain, keys[0].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def data_folder(path: Path, address: str, chain: bytes) -> Path:
    """As an engine leaves it that has a certificate."""
    pem, name = own_certificate(chain)
    told = {"tls": True, "certificate": pem, "certificate_name": name}
    (path / "engine.json").write_text(json.dumps({"grpc": address, **told}))
    key = {"access_key_id": OPERATOR[0], "secret_access_key": OPERATOR[1]}
    (path / "operator.json").write_text(json.dumps(key))
    return path


@pytest.mark.parametrize(
    "names",
    [
        [x509.DNSName("engine.example")],
        [x509.DNSName("*.engine.example"), x509.DNSName("engine.example")],
        [x509.IPAddress(IPv4Address("192.0.2.7"))],
    ],
    ids=["name", "wildcard", "address"],
)
@pytest.mark.usefixtures("nobodys_environment")
async def test_an_engine_is_known_by_the_certificate_in_its_data_folder(
    tmp_path: Path, names: list[x509.GeneralName]
) -> None:
    chain, key = issued(x509.SubjectAlternativeName(names))
    with Server(grpc.ssl_server_credentials([(key, chain)])) as server:
        data = data_folder(tmp_path, server.address, chain)

        def ask() -> str:
            with Client(data=data, deadline=20) as client:
                return client.status().mode

        assert await asyncio.to_thread(ask) == "rootless"
        async with AsyncClient(data=data, deadline=20) as client_too:
            assert (await client_too.status()).mode == "rootless"


@pytest.mark.usefixtures("nobodys_environment")
def test_another_certificate_of_the_same_name_never_gets_to_see_the_key(
    tmp_path: Path,
) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("engine.example")])
    chain, key = issued(names)
    with Server(grpc.ssl_server_credentials([(key, chain)])) as server:
        data = data_folder(tmp_path, server.address, issued(names)[0])

        with (
            Client(data=data, deadline=20) as client,
            pytest.raises(errors.ConnectionFailed, match="name that as ca_file"),
        ):
            client.dry_run("hello")

        assert server.engine.metadata == []


def test_a_certificate_without_other_names_is_for_its_subject() -> None:
    chain, _ = issued(None)

    pem, name = own_certificate(chain)

    assert name == "engine.example"
    assert chain.startswith(pem.encode())
    assert pem.count("BEGIN CERTIFICATE") == 1
