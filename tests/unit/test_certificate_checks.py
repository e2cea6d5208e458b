"""What `up` says of a certificate that gRPC would not serve with."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sandlot_engine.assembly.access import check_certificate
from sandlot_engine.assembly.machine import Refused
from sandlot_engine.options import EngineConfig
from tests.integration.test_grpc_server import self_signed


def config(certificate: Path | str, key: Path | str) -> EngineConfig:
    named = SimpleNamespace(tls_cert=str(certificate), tls_key=str(key))
    return cast(EngineConfig, named)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file, content in zip(files, self_signed(), strict=True):
        file.write_bytes(content)
    return files


def test_a_certificate_with_its_key_is_taken_and_so_is_none(
    pair: tuple[Path, Path],
) -> None:
    check_certificate(config(*pair))
    check_certificate(config("", ""))


def test_what_is_no_certificate_or_another_s_key_is_refused_by_its_files(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, key = pair
    another = tmp_path / "another.pem"
    another.write_bytes(self_signed()[1])

    for wrong in (config(key, certificate), config(certificate, another)):
        with pytest.raises(Refused, match="are no certificate") as refusal:
            check_certificate(wrong)
        assert wrong.tls_cert in str(refusal.value)
        assert wrong.tls_key in str(refusal.value)


def test_a_key_that_cannot_be_read_is_told_with_whose_it_has_to_be(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="readable for the engine's user"):
        check_certificate(config(pair[0], tmp_path / "gone.pem"))
