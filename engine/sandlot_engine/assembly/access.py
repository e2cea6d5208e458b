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
