"""Which engine to talk to, and as whom.

Settings come in layers, the first that has an answer wins:

    arguments → `data=` → `profile=` → `SANDLOT_*` → `SANDLOT_DATA` → default profile

and where none has an address, it is 127.0.0.1:9071. Where none has anything at all, the
engine is meant that `sandlot up` has started without being told where its data is.

An address goes with its TLS settings, and a key with its secret: neither is ever
put together from two layers.
"""

import contextlib
import ipaddress
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from sandlot.errors import ConnectionFailed, UsageError

DEFAULT_ENDPOINT = "127.0.0.1:9071"

SYSTEM_DATA = Path("/var/lib/sandlot")
"""Where root's engine keeps its data, if nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the engine is and how to reach it."""

    endpoint: str
    """HOST:PORT or unix:PATH."""

    tls: bool = False
    ca_file: str | None = None
    """PEM file of the authority to trust; the system's where it is None."""

    certificate: str = field(default="", repr=False)
    """In place of an authority: the engine's own, in PEM, from its data folder."""

    certificate_name: str = ""
    """A name that it is for, by whatever address it is reached."""

    insecure: bool = False
    """Whether plaintext may leave this machine."""

    data: str = ""
    """The data folder that says so, of an engine that may have ended since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A key pair."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client needs to know before its first call."""

    address: Address
    credentials: Credentials | None
    tenant: str | None = None
    """The tenant to act for, where the key is an operator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One source of settings; None where it says nothing."""

    address: Address | None = None
    credentials: Credentials | None = None
    tenant: str | None = None


class Where(TypedDict, total=False):
    """What a client may be told about its engine; the rest is looked up."""

    access_key_id: str | None
    secret_access_key: str | None
    tenant: str | None
    """The tenant to act for; the key must be an operator's."""

    profile: str | None
    """A table of the profile file."""

    data: str | os.PathLike[str] | None
    """The data directory of an engine on this machine."""

    tls: bool | None
    ca_file: str | os.PathLike[str] | None
    insecure: bool | None
    """Whether plaintext may leave this machine."""


def resolve(
    endpoint: str | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    **where: Unpack[Where],
) -> Settings:
    """Find the settings. Raises `UsageError` or `ConnectionFailed`, which say
    where they were looked for.
    """
    profile, data = where.get("profile"), where.get("data")
    arguments = Layer(
        address=address_of(endpoint),
        credentials=_pair(
            where.get("access_key_id"), where.get("secret_access_key"), "the arguments"
        ),
        tenant=where.get("tenant"),
    )
    layers = [arguments]
    if data is not None:
        layers.append(from_data(Path(data), needs_address=not endpoint))
    if profile is not None:
        layers.append(from_profile(profile, env, must_exist=True))
    environment = from_environment(
        env,
        needs_address=not any(layer.address for layer in layers),
        needs_key=not any(layer.credentials for layer in layers),
    )
    layers.append(environment)
    if profile is None:
        layers.append(_default_profile(env))
    if not any(layer.address or layer.credentials for layer in layers):
        layers.append(_default_engine(env))
    return _checked(layers, where)


def from_environment(
    env: Mapping[str, str], *, needs_address: bool = True, needs_key: bool = True
) -> Layer:
    """`SANDLOT_*`: single settings first, then the data directory named there, which
    is not looked at for what is known already: it may be another user's.
    """
    endpoint = env.get("SANDLOT_ENDPOINT")
    single = Layer(
        address=address_of(endpoint),
        credentials=_pair(
            env.get("SANDLOT_ACCESS_KEY_ID"),
            env.get("SANDLOT_SECRET_ACCESS_KEY"),
            "the environment",
        ),
        tenant=env.get("SANDLOT_TENANT") or None,
    )
    is_found = (endpoint or not needs_address) and (single.credentials or not needs_key)
    if is_found or not (directory := env.get("SANDLOT_DATA")):
        return single
    data = from_data(Path(directory), needs_address=needs_address and not endpoint)
    return Layer(
        address=single.address or data.address,
        credentials=single.credentials or data.credentials,
        tenant=single.tenant,
    )


def from_data(directory: Path, *, needs_address: bool) -> Layer:
    """The address and the operator's key that an engine keeps in its data directory."""
    engine = _read_json(
        directory / "engine.json",
        texts=("grpc",),
        mend="each start of the engine writes it anew",
    )
    if engine is None and needs_address:
        raise _none_running(directory)
    operator = _read_json(
        directory / "operator.json",
        texts=("access_key_id", "secret_access_key"),
        mend="bring it back from a backup, or give an operator's key otherwise",
    )
    operator = operator or {}
    return Layer(
        address=_engine_address(engine or {}, directory),
        credentials=_pair(
            operator.get("access_key_id"),
            operator.get("secret_access_key"),
            str(directory / "operator.json"),
        ),
    )


def default_data(env: Mapping[str, str] = os.environ) -> Path:
    """Where an engine keeps its data if nobody says: as the engine itself has it."""
    if os.geteuid() == 0:
        return SYSTEM_DATA
    home = _home(env)
    return Path(env.get("XDG_DATA_HOME") or home / ".local" / "share") / "sandlot"


def _home(env: Mapping[str, str]) -> Path:
    """The user's; of one whom the machine does not know, as in containers, `/`."""
    with contextlib.suppress(RuntimeError):
        return Path(env.get("HOME") or Path.home())
    return Path("/")


def _default_engine(env: Mapping[str, str]) -> Layer:
    """Nothing, where none runs there, or another user's: nobody named it."""
    directory = default_data(env)
    if not os.access(directory / "engine.json", os.R_OK):
        return Layer()
    return from_data(directory, needs_address=False)


def http_of(directory: Path) -> str:
    """HOST:PORT of the HTTP port of the engine that runs there, as it is reached from
    this machine. Raises `ConnectionFailed` where none runs."""
    engine = _read_json(
        directory / "engine.json",
        texts=("http",),
        mend="each start of the engine writes it anew",
    )
    if engine is None:
        raise _none_running(directory)
    return _local(engine["http"].removeprefix("http://"))


def from_profile(
    name: str, env: Mapping[str, str] = os.environ, *, must_exist: bool
) -> Layer:
    """A table of the profile file, such as `[work]` with `endpoint = "…"`."""
    file = profile_file(env)
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        tables = {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    if alone := [key for key, one in tables.items() if not isinstance(one, dict)]:
        raise UsageError(f"{alone[0]} in {file} is in no table: put [{name}] above it")
    table = tables.get(name)
    if table is None:
        if must_exist:
            raise UsageError(
                f"there is no profile {name!r} in {file}. Add a table [{name}] with "
                "endpoint, access_key_id and secret_access_key."
            )
        return Layer()
    _check(table, f"[{name}] in {file}")
    return Layer(
        address=address_of(
            table.get("endpoint"),
            tls=table.get("tls", False),
            ca_file=table.get("ca_file"),
            insecure=table.get("insecure", False),
        ),
        credentials=_pair(
            table.get("access_key_id"), table.get("secret_access_key"), str(file)
        ),
        tenant=table.get("tenant"),
    )


_KINDS = {
    "endpoint": str,
    "tls": bool,
    "ca_file": str,
    "insecure": bool,
    "access_key_id": str,
    "secret_access_key": str,
    "tenant": str,
}
"""What a profile may say."""


def _check(table: Mapping[str, object], where: str) -> None:
    """What is misspelt would not be heeded, and another engine asked. Values are not
    told: one is the secret."""
    for key, value in table.items():
        if (kind := _KINDS.get(key)) is None:
            raise UsageError(
                f"{where} has {key!r}, which is none of {', '.join(_KINDS)}"
            )
        if not isinstance(value, kind):
            wanted = "text in quotes" if kind is str else "true or false"
            raise UsageError(f"{key} of {where} must be {wanted}")


def profile_file(env: Mapping[str, str] = os.environ) -> Path:
    """`~/.config/sandlot/config.toml`, or under `XDG_CONFIG_HOME`."""
    home = env.get("XDG_CONFIG_HOME")
    base = Path(home) if home else _home(env) / ".config"
    return base / "sandlot" / "config.toml"


def address_of(
    endpoint: str | None,
    *,
    tls: bool = False,
    ca_file: str | None = None,
    insecure: bool = False,
) -> Address | None:
    """Read HOST:PORT, `grpc://HOST:PORT`, `grpcs://HOST:PORT` (TLS) or `unix:PATH`."""
    if not endpoint:
        return None
    scheme, separator, rest = endpoint.partition("://")
    if separator and scheme not in {"grpc", "grpcs"}:
        raise UsageError(
            f"the endpoint {endpoint!r} is not one of ours: write HOST:PORT of the "
            "engine's gRPC port, or grpcs://HOST:PORT for TLS"
        )
    target = rest.rstrip("/") if separator else endpoint
    if not target.startswith("unix:") and not target.rpartition(":")[2].isdecimal():
        raise UsageError(
            f"the endpoint {endpoint!r} has no port; the engine's default is 9071"
        )
    return Address(
        endpoint=target,
        tls=tls or scheme == "grpcs" or ca_file is not None,
        ca_file=ca_file,
        insecure=insecure,
    )


def is_loopback(endpoint: str) -> bool:
    """Whether what is sent there never leaves this machine."""
    if endpoint.startswith("unix:"):
        return True
    host = endpoint.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _default_profile(env: Mapping[str, str]) -> Layer:
    name = env.get("SANDLOT_PROFILE")
    return from_profile(name or "default", env, must_exist=bool(name))


def _checked(layers: list[Layer], where: Where) -> Settings:
    """The first answers, with plaintext refused where it would leave this machine."""
    found = next(
        (layer.address for layer in layers if layer.address),
        Address(endpoint=DEFAULT_ENDPOINT),
    )
    address = _reached_as(found, where)
    if not (address.tls or address.insecure or is_loopback(address.endpoint)):
        raise UsageError(
            f"{address.endpoint} is not on this machine, and without TLS the secret "
            "key would cross the network in the clear. Use grpcs://HOST:PORT, or "
            "tls=True (in a profile: tls = true); insecure=True sends it all the same."
        )
    return Settings(
        address=address,
        credentials=next((one.credentials for one in layers if one.credentials), None),
        tenant=next((one.tenant for one in layers if one.tenant), None),
    )


def _reached_as(found: Address, where: Where) -> Address:
    """The arguments overrule how an address is reached, wherever it was found."""
    tls, ca_file = where.get("tls"), where.get("ca_file")
    insecure = where.get("insecure")
    return Address(
        endpoint=found.endpoint,
        tls=tls if tls is not None else found.tls or ca_file is not None,
        ca_file=os.fspath(ca_file) if ca_file is not None else found.ca_file,
        certificate=found.certificate if ca_file is None else "",
        certificate_name=found.certificate_name if ca_file is None else "",
        insecure=found.insecure if insecure is None else insecure,
        data=found.data,
    )


def _pair(key: str | None, secret: str | None, where: str) -> Credentials | None:
    if not key and not secret:
        return None
    if not key or not secret:
        raise UsageError(
            f"half a key in {where}: access_key_id and secret_access_key go together"
        )
    return Credentials(access_key_id=key, secret_access_key=secret)


def _engine_address(engine: Mapping[str, Any], directory: Path) -> Address | None:
    grpc = engine.get("grpc")
    if not isinstance(grpc, str):
        return None
    found = address_of(_local(grpc), tls=engine.get("tls") is True)
    if found is None:
        return None
    found = replace(found, data=str(directory))
    if not found.tls:
        return found
    return replace(
        found,
        certificate=str(engine.get("certificate") or ""),
        certificate_name=str(engine.get("certificate_name") or ""),
    )


def _local(address: str) -> str:
    """An engine that listens everywhere is reached from here by loopback."""
    host, _, port = address.rpartition(":")
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host) + f":{port}"  # noqa: S104


def _none_running(directory: Path) -> ConnectionFailed:
    return ConnectionFailed(
        f"no engine is running on {directory}: it has no engine.json. "
        f"Start one with `{start_on(directory)}`."
    )


def start_on(directory: str | os.PathLike[str]) -> str:
    """The command that starts an engine there, as a shell takes it."""
    import shlex  # a millisecond, of which few commands have need

    return f"sandlot up --data {shlex.quote(os.fspath(directory))}"


def _read_json(
    file: Path, *, texts: tuple[str, ...], mend: str
) -> dict[str, Any] | None:
    """The object in a file, which has these `texts`; None if there is no file."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise UsageError(
            f"{file} may not be read by this user: use the account that runs the "
            "engine, or set SANDLOT_ENDPOINT and a key"
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read ({error}): {mend}") from error
    if not isinstance(found, dict) or not all(
        isinstance(found.get(name), str) for name in texts
    ):
        raise UsageError(f"{file} is not as the engine wrote it: {mend}")
    return found
