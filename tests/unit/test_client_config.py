"""Which engine, and as whom: what wins over what."""

import json
import os
from pathlib import Path

import pytest

from sandlot import config
from sandlot.errors import ConnectionFailed, InvalidParameter, UsageError
from sandlot_engine import supervisor


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of a running engine."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "engine.json").write_text(
        json.dumps(
            {"grpc": "127.0.0.1:4071", "http": "http://127.0.0.1:4070", "pid": 1}
        )
    )
    (folder / "operator.json").write_text(
        json.dumps(
            {
                "tenant_id": "000000000001",
                "access_key_id": "DATAKEY",
                "secret_access_key": "data-secret",
            }
        )
    )
    return folder


@pytest.fixture(autouse=True)
def system_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the machine's own, where an engine may run."""
    folder = tmp_path / "system"
    monkeypatch.setattr(config, "SYSTEM_DATA", folder)
    return folder


def profile(home: Path, text: str) -> dict[str, str]:
    """An environment whose profile file holds `text`."""
    file = home / "xdg" / "sandlot" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return {"XDG_CONFIG_HOME": str(home / "xdg")}


def test_without_any_setting_the_local_engine_is_meant(tmp_path: Path) -> None:
    settings = config.resolve(env={"HOME": str(tmp_path)})

    assert settings.address == config.Address(endpoint="127.0.0.1:9071")
    assert settings.credentials is None


def test_an_argument_wins_over_the_environment(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "SANDLOT_ENDPOINT": "127.0.0.1:2"}

    assert config.resolve("127.0.0.1:1", env=env).address.endpoint == "127.0.0.1:1"


def test_the_environment_wins_over_the_profile(tmp_path: Path) -> None:
    env = profile(tmp_path, '[default]\nendpoint = "127.0.0.1:3"\ntenant = "9"\n')

    settings = config.resolve(env={**env, "SANDLOT_ENDPOINT": "127.0.0.1:2"})

    assert settings.address.endpoint == "127.0.0.1:2"
    assert settings.tenant == "9"


def test_a_profile_brings_address_key_and_tls(tmp_path: Path) -> None:
    env = profile(
        tmp_path,
        '[work]\nendpoint = "sandlot.example:9071"\ntls = true\n'
        'access_key_id = "K"\nsecret_access_key = "S"\n',
    )

    settings = config.resolve(env={**env, "SANDLOT_PROFILE": "work"})

    assert settings.address.tls
    assert settings.credentials == config.Credentials(
        access_key_id="K", secret_access_key="S"
    )


def test_a_profile_that_does_not_exist_is_an_error_and_names_the_file(
    tmp_path: Path,
) -> None:
    env = profile(tmp_path, "[work]\n")

    with pytest.raises(InvalidParameter, match=r"no profile 'wrok' in .*config\.toml"):
        config.resolve(profile="wrok", env=env)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[default]\nendpoint = 9071", r"endpoint of \[default\] in .* text in quotes"),
        ("[default]\ntenant = 123456789012", r"tenant of \[default\]"),
        ('[default]\ntls = "true"', r"tls of \[default\] .* must be true or false"),
        ('[default]\nendpont = "127.0.0.1:1"', r"has 'endpont', which is none of end"),
        ('endpoint = "127.0.0.1:1"', r"endpoint in .* put \[default\] above it"),
    ],
)
def test_a_profile_that_says_something_else_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        config.resolve(env=profile(tmp_path, text))


def test_a_profile_that_is_not_meant_is_not_looked_at(tmp_path: Path) -> None:
    env = profile(tmp_path, '[default]\nendpoint = "127.0.0.1:1"\n[work]\nnew = 1')

    assert config.resolve(env=env).address.endpoint == "127.0.0.1:1"


def test_a_data_directory_gives_the_address_and_the_operators_key(data: Path) -> None:
    settings = config.resolve(env={"HOME": str(data), "SANDLOT_DATA": str(data)})

    assert settings.address.endpoint == "127.0.0.1:4071"
    assert settings.credentials is not None
    assert settings.credentials.access_key_id == "DATAKEY"


def test_an_engine_that_was_started_without_a_word_is_found_without_one(
    data: Path, system_data: Path, tmp_path: Path
) -> None:
    env = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    folder = system_data if os.geteuid() == 0 else tmp_path / "sandlot"
    data.rename(folder)
    key = {"SANDLOT_ACCESS_KEY_ID": "OTHER", "SANDLOT_SECRET_ACCESS_KEY": "s"}

    found = config.resolve(env=env)
    elsewhere = config.resolve("127.0.0.1:1", env=env)
    with_a_key = config.resolve(env=env | key)

    assert found.address.endpoint == "127.0.0.1:4071"
    assert found.credentials is not None
    assert found.credentials.access_key_id == "DATAKEY"
    assert elsewhere.credentials is None, "its key is for it alone"
    assert with_a_key.address.endpoint == config.DEFAULT_ENDPOINT


def test_a_user_whom_the_machine_does_not_know_has_the_root_for_a_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(Path, "home", _no_home)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)

    found = config.resolve("127.0.0.1:1", env={})

    assert found.address.endpoint == "127.0.0.1:1"
    assert config.default_data() == supervisor.default_data()
    assert config.default_data() == Path("/.local/share/sandlot")


def test_client_and_engine_agree_on_where_data_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(config, "SYSTEM_DATA", Path("/var/lib/sandlot"))
    for user, base in ((0, ""), (1000, ""), (1000, str(tmp_path))):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        monkeypatch.setenv("XDG_DATA_HOME", base)

        assert config.default_data() == supervisor.default_data()


def test_a_data_directory_given_as_argument_wins_over_an_endpoint_in_the_environment(
    data: Path,
) -> None:
    env = {
        "HOME": str(data),
        "SANDLOT_ENDPOINT": "127.0.0.1:2",
        "SANDLOT_ACCESS_KEY_ID": "ENVKEY",
        "SANDLOT_SECRET_ACCESS_KEY": "env-secret",
    }

    settings = config.resolve(data=data, env=env)

    assert settings.address.endpoint == "127.0.0.1:4071"
    assert settings.credentials is not None
    assert settings.credentials.access_key_id == "DATAKEY"


def test_a_data_directory_without_a_running_engine_says_how_to_start_one(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConnectionFailed, match="sandlot up --data"):
        config.resolve(data=tmp_path, env={"HOME": str(tmp_path)})


def test_a_stale_data_directory_in_the_environment_does_not_matter_beside_an_endpoint(
    tmp_path: Path,
) -> None:
    env = {"HOME": str(tmp_path), "SANDLOT_DATA": str(tmp_path / "gone")}

    settings = config.resolve("127.0.0.1:1", env=env)

    assert settings.address.endpoint == "127.0.0.1:1"


def test_a_data_directory_in_the_environment_is_not_read_for_what_is_known(
    data: Path, tmp_path: Path
) -> None:
    unreadable = tmp_path / "unreadable"
    unreadable.mkdir()
    (unreadable / "engine.json").write_text("of somebody else")
    elsewhere = {"SANDLOT_DATA": str(unreadable), "HOME": str(tmp_path)}
    named = {
        **elsewhere,
        "SANDLOT_ENDPOINT": "127.0.0.1:1",
        "SANDLOT_ACCESS_KEY_ID": "AKIA",
        "SANDLOT_SECRET_ACCESS_KEY": "s",
    }

    by_argument = config.resolve(data=data, env=elsewhere)
    by_environment = config.resolve(env=named)

    assert by_argument == config.resolve(data=data, env={"HOME": str(tmp_path)})
    assert by_environment.address.endpoint == "127.0.0.1:1"
    with pytest.raises(UsageError, match="cannot be read"):
        config.resolve(env=elsewhere)


@pytest.mark.parametrize("name", ["engine.json", "operator.json"])
@pytest.mark.parametrize("content", ["", "null", "[1]", '{"grpc": 5}', "{\0"])
def test_a_file_of_the_data_directory_that_is_damaged_is_told_with_what_to_do(
    data: Path, name: str, content: str
) -> None:
    (data / name).write_text(content)

    with pytest.raises(UsageError, match=rf"{name} .*(anew|backup)"):
        config.resolve(data=data, env={"HOME": str(data)})


def test_an_engine_that_listens_everywhere_is_reached_by_loopback(data: Path) -> None:
    (data / "engine.json").write_text('{"grpc": "0.0.0.0:4071"}')

    settings = config.resolve(data=data, env={"HOME": str(data)})

    assert settings.address.endpoint == "127.0.0.1:4071"


@pytest.mark.parametrize(
    "endpoint", ["10.0.0.5:9071", "engine.example:9071", "[2001:db8::1]:9071"]
)
def test_plaintext_to_another_machine_is_refused(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="without TLS the secret key"):
        config.resolve(endpoint, env={"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/sandlot.sock"]
)
def test_plaintext_within_this_machine_is_fine(endpoint: str, tmp_path: Path) -> None:
    assert not config.resolve(endpoint, env={"HOME": str(tmp_path)}).address.tls


def test_tls_or_an_explicit_insecure_reaches_another_machine(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}

    assert config.resolve("grpcs://engine.example:1", env=env).address.tls
    assert config.resolve("engine.example:1", tls=True, env=env).address.tls
    assert not config.resolve("engine.example:1", insecure=True, env=env).address.tls


def test_half_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="go together"):
        config.resolve(access_key_id="K", env={"HOME": str(tmp_path)})


@pytest.mark.parametrize("endpoint", ["localhost", "http://localhost:9070"])
def test_an_endpoint_that_cannot_be_one_is_refused(
    endpoint: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParameter, match="endpoint"):
        config.resolve(endpoint, env={"HOME": str(tmp_path)})


def test_secrets_are_not_shown_in_reprs() -> None:
    key = config.Credentials(access_key_id="K", secret_access_key="hush")

    assert "hush" not in repr(key)


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")
