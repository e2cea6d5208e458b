"""Function URLs: which there are, and where each leads. Texts are AWS's.

A URL goes with its function, and not with its alias: as on AWS it stays then, and
nobody may call it.
"""

import secrets
from dataclasses import replace

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.targets import check_is_not_isolated
from sandlot_engine.clock import Clock
from sandlot_engine.errors import AlreadyExists, InvalidParameter, NotFound
from sandlot_engine.model.url import Cors, FunctionUrl, InvokeMode, UrlAuthType
from sandlot_engine.store.ports import DocumentStore

ID_LENGTH = 32
MAX_AGE_S = range(86_400 + 1)
MAX_CORS_ITEMS = 100
"""Origins, headers to allow, headers to expose: so many of each."""

MAX_CORS_ITEM = 1_024
MAX_ORIGIN = 253
METHODS = frozenset({"GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"})

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_NO_FUNCTION = "Function does not exist"
_NO_URL = "The resource you requested does not exist."


def kept_urls(store: DocumentStore) -> Kept[FunctionUrl]:
    """Kept by function and id, since they outlive their aliases: one of the
    `belongings` of `Functions`."""
    return Kept(store, "url", FunctionUrl, keys_are_unique=True)


class Urls:
    """The URLs of all functions. A qualifier is empty, or names an alias."""

    def __init__(
        self, kept: Kept[FunctionUrl], functions: Functions, *, clock: Clock
    ) -> None:
        self._kept = kept
        self._functions = functions
        self._clock = clock

    def by_id(self, url_id: str) -> FunctionUrl | None:
        """Whosever it is, from memory. Never waits."""
        return self._kept.named(url_id)

    def find(
        self, tenant_id: str, function: str, qualifier: str = ""
    ) -> FunctionUrl | None:
        """From memory. Never waits."""
        urls = self._kept.of(tenant_id, function).values()
        return next((url for url in urls if url.qualifier == qualifier), None)

    def get(self, tenant_id: str, function: str, qualifier: str = "") -> FunctionUrl:
        """Raises `NotFound`."""
        url = self.find(tenant_id, function, qualifier)
        if url is None:
            raise NotFound(_NO_URL, kind="url")
        return url

    async def create(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        auth_type: UrlAuthType,
        cors: Cors | None = None,
        invoke_mode: InvokeMode = InvokeMode.BUFFERED,
    ) -> FunctionUrl:
        """Raises `NotFound`, `InvalidParameter`, and `AlreadyExists` where there is one
        already. Nobody but its owner may call it before a policy says so."""
        _check_cors(cors)

        async def create() -> FunctionUrl:
            self._require(tenant_id, function, qualifier)
            found = self._functions.find(tenant_id, function)
            check_is_not_isolated(found, "A function URL")
            if self.find(tenant_id, function, qualifier) is not None:
                arn = self._functions.arn(tenant_id, function, qualifier)
                raise AlreadyExists(
                    "Failed to create function url config for "
                    f"[functionArn = {arn}]. Error message:  "
                    "FunctionUrlConfig exists for this Lambda function"
                )
            now = self._clock.now()
            url = FunctionUrl(
                id=self._new_id(),
                tenant_id=tenant_id,
                function=function,
                qualifier=qualifier,
                auth_type=auth_type,
                cors=cors,
                invoke_mode=invoke_mode,
                created=now,
                last_modified=now,
            )
            return await self._put(url)

        return await self._functions.in_turn(tenant_id, create)

    async def update(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        auth_type: UrlAuthType | None = None,
        cors: Cors | None = None,
        invoke_mode: InvokeMode | None = None,
    ) -> FunctionUrl:
        """Change what is given; CORS as a whole. Raises `NotFound`,
        `InvalidParameter`."""
        _check_cors(cors)

        async def update() -> FunctionUrl:
            self._require(tenant_id, function, qualifier)
            old = self.get(tenant_id, function, qualifier)
            return await self._put(
                replace(
                    old,
                    auth_type=auth_type or old.auth_type,
                    cors=old.cors if cors is None else cors,
                    invoke_mode=invoke_mode or old.invoke_mode,
                    last_modified=self._clock.now(),
                )
            )

        return await self._functions.in_turn(tenant_id, update)

    async def delete(self, tenant_id: str, function: str, qualifier: str = "") -> None:
        """For good: the next one has another id. The policy stays. Raises
        `NotFound`."""

        async def delete() -> None:
            url = self.get(tenant_id, function, qualifier)
            await self._kept.delete(tenant_id, function, url.id)

        await self._functions.in_turn(tenant_id, delete)

    # Last of the public ones: from here on `list` hides the builtin.
    def list(
        self, tenant_id: str, function: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[FunctionUrl], str]:
        """A page by function and qualifier, and the token of the next; of all the
        tenant's functions where none is named. Raises `NotFound`,
        `InvalidParameter`."""
        owners = self._kept.owners(tenant_id)
        if function:
            self._require(tenant_id, function, "")
            owners = {function: self._kept.of(tenant_id, function)}
        # A comma is before all that names have, so that `a` comes before `a-b`.
        by_token = {
            f"{url.function},{url.qualifier}": url
            for urls in owners.values()
            for url in urls.values()
        }
        page, token = page_of(sorted(by_token), page_size, page_token)
        return [by_token[each] for each in page], token

    async def _put(self, url: FunctionUrl) -> FunctionUrl:
        return await self._kept.put(url.tenant_id, url.function, url.id, url)

    def _new_id(self) -> str:
        return "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))

    def _require(self, tenant_id: str, function: str, qualifier: str) -> None:
        try:
            self._functions.find(tenant_id, function)
            if qualifier:
                self._functions.aliases.get(tenant_id, function, qualifier)
        except NotFound as error:
            raise NotFound(_NO_FUNCTION, kind="function", name=function) from error


def _check_cors(cors: Cors | None) -> None:
    if cors is None:
        return
    if cors.max_age_s is not None and cors.max_age_s not in MAX_AGE_S:
        raise _bad_cors(
            f"MaxAge is {cors.max_age_s}; it must be 0 to {MAX_AGE_S.stop - 1}."
        )
    if unknown := sorted(set(cors.allow_methods or ()) - METHODS):
        raise _bad_cors(
            f"AllowMethods has {unknown[0][:20]!r}, and may have "
            f"{', '.join(sorted(METHODS))}."
        )
    if bad := [o for o in cors.allow_origins or () if not 0 < len(o) <= MAX_ORIGIN]:
        raise _bad_cors(
            f"AllowOrigins has one of {len(bad[0])} characters; each has 1 to "
            f"{MAX_ORIGIN}, as https://example.org, or is a *."
        )
    lists = (cors.allow_origins, cors.allow_headers, cors.expose_headers)
    if not all(item.isprintable() for items in lists for item in items or ()):
        # Each goes into a header, whose line one would end.
        raise _bad_cors("Lists may have printable characters alone.")
    for items in lists:
        longest = max(map(len, items or ()), default=0)
        if len(items or ()) > MAX_CORS_ITEMS or longest > MAX_CORS_ITEM:
            raise _bad_cors(
                f"Lists may have {MAX_CORS_ITEMS} items of {MAX_CORS_ITEM} characters."
            )


def _bad_cors(message: str) -> InvalidParameter:
    return InvalidParameter(f"Cors: {message}", field="cors")
