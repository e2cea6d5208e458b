"""What a zygote of a revision is made from."""

import hashlib

from sandlot_engine.model.function import Function, FunctionConfig, Revision
from sandlot_engine.node.environment import settings_of
from sandlot_sandbox.host.extensions_api import Identity
from sandlot_sandbox.host.recipe import IMPORT_S, Recipe
from sandlot_sandbox.limits import Limits

_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"


def recipe_of(
    function: Function,
    revision: Revision,
    *,
    region: str,
    import_in_zygote: bool,
    has_extensions: bool,
    has_snapshot: bool,
    allow: tuple[str, ...],
) -> Recipe:
    """`allow` is what it may reach with its network although it is not public."""
    config = revision.config
    return Recipe(
        runtime=config.runtime,
        limits=Limits(memory_mb=config.memory_mb, tmp_mb=config.ephemeral_storage_mb),
        code=revision.code.sha256,
        opt=config.opt_sha256,
        settings=settings_of(
            function, revision, region, import_in_zygote=import_in_zygote
        ),
        owner=_number_of(function.tenant_id),
        identity=Identity(
            name=function.name,
            version=function.version,
            handler=config.handler,
            account=function.tenant_id,
            has_json_log=config.logging.format == "JSON",
        ),
        network=config.network,
        as_program=has_extensions or has_wrapper(config),
        allow=allow,
        # Nobody knows whom the next instance will be for.
        keeps_tmp=not config.per_tenant,
        import_s=config.init_ahead_s if has_snapshot else IMPORT_S,
    )


def has_wrapper(config: FunctionConfig) -> bool:
    """Whether a script of the tenant's starts its runtime."""
    return bool(config.environment.get(_WRAPPER))


def _number_of(tenant_id: str) -> int:
    """The launcher need not know who our tenants are."""
    return int.from_bytes(hashlib.blake2b(tenant_id.encode(), digest_size=6).digest())
