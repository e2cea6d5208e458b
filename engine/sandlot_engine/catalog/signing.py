"""Code signing configs: made, changed, given to functions. Texts are AWS's.

No signature is looked at here. So a config that only warns is kept, and one that
enforces lets no code in: to take unsigned code then would be a lie.
"""

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.settings import checked_tags
from sandlot_engine.clock import Clock
from sandlot_engine.errors import Conflict, InvalidParameter, NotFound, QuotaExceeded
from sandlot_engine.model.signing import Signing, SigningConfig, Untrusted
from sandlot_engine.store.ports import DocumentStore

MAX_CONFIGS = 1_000
"""Of one tenant."""

_OWNER = ""
_DIGITS = 17
_ALPHABET = string.ascii_lowercase + string.digits
_MISSING = "CodeSigningConfigNotFoundException"


def kept_signing_configs(store: DocumentStore) -> Kept[SigningConfig]:
    """Kept by id; they belong to no function."""
    return Kept(store, "signing-config", SigningConfig, keys_are_unique=True)


def kept_signings(store: DocumentStore) -> Kept[Signing]:
    """Kept by function: one of the `belongings` of `Functions`."""
    return Kept(store, "signing", Signing)


class SigningConfigs:
    """The code signing configs of all tenants."""

    def __init__(
        self,
        configs: Kept[SigningConfig],
        signings: Kept[Signing],
        functions: Functions,
        *,
        clock: Clock,
    ) -> None:
        self._configs = configs
        self._signings = signings
        self._functions = functions
        self._clock = clock

    def get(self, tenant_id: str, config: str, *, reason: str = "") -> SigningConfig:
        """By its id. Raises `NotFound`, with a reason that AWS's name for it may be."""
        found = self._configs.get(tenant_id, _OWNER, config)
        if found is None:
            raise NotFound(
                f"The code signing configuration {config} cannot be found. Check that "
                "the ARN is correct.",
                kind="code-signing-config",
                name=config,
                reason=reason,
            )
        return found

    async def create(
        self,
        tenant_id: str,
        *,
        publishers: Sequence[str],
        untrusted: Untrusted = Untrusted.WARN,
        description: str = "",
        tags: Mapping[str, str],
    ) -> SigningConfig:
        """Raises `InvalidParameter`, `QuotaExceeded`."""
        config = SigningConfig(
            tenant_id=tenant_id,
            id="csc-" + "".join(secrets.choice(_ALPHABET) for _ in range(_DIGITS)),
            publishers=tuple(publishers),
            untrusted=untrusted,
            description=description,
            tags=checked_tags(tags),
            last_modified=self._clock.now(),
        )

        async def create() -> SigningConfig:
            if len(self._configs.of(tenant_id, _OWNER)) >= MAX_CONFIGS:
                raise QuotaExceeded(
                    f"Tenant {tenant_id} has {MAX_CONFIGS} code signing configs of "
                    f"{MAX_CONFIGS} allowed. Delete one first.",
                    limit=MAX_CONFIGS,
                )
            return await self._put(config)

        return await self._functions.in_turn(tenant_id, create)

    async def update(
        self,
        tenant_id: str,
        config: str,
        *,
        publishers: Sequence[str] | None = None,
        untrusted: Untrusted | None = None,
        description: str | None = None,
    ) -> SigningConfig:
        """Change what is given. Raises `NotFound`."""

        async def update() -> SigningConfig:
            old = self.get(tenant_id, config)
            return await self._put(
                replace(
                    old,
                    publishers=tuple(publishers or old.publishers),
                    untrusted=untrusted or old.untrusted,
                    description=(
                        old.description if description is None else description
                    ),
                    last_modified=self._clock.now(),
                )
            )

        return await self._functions.in_turn(tenant_id, update)

    async def tag(
        self, tenant_id: str, config: str, tags: Mapping[str, str]
    ) -> SigningConfig:
        """All its tags anew. Raises `NotFound`, `InvalidParameter`."""
        checked = checked_tags(tags)

        async def tag() -> SigningConfig:
            return await self._put(replace(self.get(tenant_id, config), tags=checked))

        return await self._functions.in_turn(tenant_id, tag)

    async def delete(self, tenant_id: str, config: str) -> None:
        """Raises `NotFound`, and `Conflict` while a function has it."""

        async def delete() -> None:
            self.get(tenant_id, config)
            if self._users(tenant_id, config):
                raise Conflict(
                    "Cannot delete a code signing configuration while it is attached "
                    "to functions.",
                    reason="ResourceConflict",
                )
            await self._configs.delete(tenant_id, _OWNER, config)

        await self._functions.in_turn(tenant_id, delete)

    # --- of functions -------------------------------------------------------------

    def of(self, tenant_id: str, function: str) -> str:
        """The id of a function's config; empty where it has none. Raises `NotFound`
        where there is no such function."""
        self._functions.find(tenant_id, function)
        signing = self._signings.get(tenant_id, function)
        return signing.config if signing is not None else ""

    async def attach(self, tenant_id: str, function: str, config: str) -> None:
        """Raises `NotFound`."""

        async def attach() -> None:
            self._functions.find(tenant_id, function)
            self.get(tenant_id, config, reason=_MISSING)
            await self._signings.put(tenant_id, function, "", Signing(config=config))

        await self._functions.in_turn(tenant_id, attach)

    async def detach(self, tenant_id: str, function: str) -> None:
        """No failure where it has none. Raises `NotFound`."""

        async def detach() -> None:
            self._functions.find(tenant_id, function)
            await self._signings.delete(tenant_id, function)

        await self._functions.in_turn(tenant_id, detach)

    def check_code(self, tenant_id: str, config: str) -> None:
        """Raise `InvalidParameter` where code for a function with that config cannot be
        taken; `NotFound` where there is no such config. Empty is none."""
        if not config:
            return
        found = self.get(tenant_id, config, reason=_MISSING)
        if found.untrusted is Untrusted.ENFORCE:
            raise InvalidParameter(
                f"Code signing config {config} enforces signatures, and this engine "
                "cannot check any: no code is taken. Have it warn instead, or take it "
                "from the function.",
                field="CodeSigningConfigArn",
                reason="CodeVerificationFailedException",
            )

    def list_functions(
        self, tenant_id: str, config: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[str], str]:
        """A page of the names of those that have it, and the token of the next. Raises
        `NotFound`."""
        self.get(tenant_id, config)
        page, token = page_of(self._users(tenant_id, config), page_size, page_token)
        return [*page], token

    # Last of the public ones: from here on `list` hides the builtin.
    def list(
        self, tenant_id: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[SigningConfig], str]:
        """A page by id, and the token of the next."""
        configs = self._configs.of(tenant_id, _OWNER)
        page, token = page_of(sorted(configs), page_size, page_token)
        return [configs[id_] for id_ in page], token

    def _users(self, tenant_id: str, config: str) -> Sequence[str]:
        return sorted(
            function
            for function, signings in self._signings.owners(tenant_id).items()
            if any(signing.config == config for signing in signings.values())
        )

    async def _put(self, config: SigningConfig) -> SigningConfig:
        return await self._configs.put(config.tenant_id, _OWNER, config.id, config)
