"""Where the engine is reached, and what it may reach itself."""

import os

from sandlot_engine.assembly.machine import Refused
from sandlot_engine.events.endpoints import EndpointAccess
from sandlot_engine.gateway.aws.buckets import BucketAccess
from sandlot_engine.gateway.urls.addresses import Addresses, is_public_url
from sandlot_engine.options import EngineConfig


def addresses_of(config: EngineConfig) -> Addresses:
    """Of function URLs. Raises `Refused` where the public one is none."""
    if config.public_url and not is_public_url(config.public_url):
        raise Refused(
            f"--public-url {config.public_url!r} is not http(s)://HOST[:PORT][/PATH], "
            "with one * at most"
        )
    return Addresses(config.public_url, region=config.region)


def check_certificate(config: EngineConfig) -> None:
    """Raise `Refused` where gRPC could not serve with it: it says no more than that
    there is no port then."""
    if not config.tls_cert:
        return
    # Not at the top: it is an import that only this needs.
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password nobody is asked for one.
        context.load_cert_chain(config.tls_cert, config.tls_key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise Refused(
            f"--tls-cert {config.tls_cert} and --tls-key {config.tls_key} are no"
            " certificate, in PEM, and its private key, without a password:"
            f" {getattr(error, 'reason', '') or error}"
        ) from error
    except OSError as error:
        raise Refused(
            f"{config.tls_cert} and {config.tls_key} must be readable for the engine's"
            f" user, {os.geteuid()}: {error.strerror}"
        ) from error


def bucket_access(config: EngineConfig) -> BucketAccess | None:
    """By the environment, as S3's own tools have it: a command line has no secrets."""
    if not config.s3_endpoint:
        return None
    return BucketAccess(
        endpoint=config.s3_endpoint,
        access_key_id=os.environ.get("S3_ACCESS_KEY_ID", ""),
        secret_access_key=os.environ.get("S3_SECRET_ACCESS_KEY", ""),
        region=config.region,
    )


def endpoint_access(config: EngineConfig) -> EndpointAccess:
    """By the environment, as for the store of packages."""
    return EndpointAccess(
        urls=config.destinations,
        access_key_id=os.environ.get("DESTINATION_ACCESS_KEY_ID", ""),
        secret_access_key=os.environ.get("DESTINATION_SECRET_ACCESS_KEY", ""),
        region=config.region,
    )
