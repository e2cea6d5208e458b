"""How asynchronous invocations are treated: retries, age, destinations. AWS's
EventInvokeConfig, in its words."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.targets import (
    bad_destination,
    check_is_not_isolated,
    destination_of,
)
from sandlot_engine.clock import Clock
from sandlot_engine.errors import InvalidParameter, NotFound
from sandlot_engine.model.event_config import Destinations, EventConfig
from sandlot_engine.model.function import LATEST
from sandlot_engine.store.ports import DocumentStore

MAX_RETRIES = range(2 + 1)
MAX_AGE_S = range(60, 21_600 + 1)

_NO_FUNCTION = "The function doesn't exist."


def kept_event_configs(store: DocumentStore) -> Kept[EventConfig]:
    """Kept by function and qualifier: one of the `belongings` of `Functions`."""
    return Kept(store, "event-config", EventConfig)


class EventConfigs:
    """How events of all functions are treated. A qualifier may be empty, and means
    `$LATEST` then."""

    def __init__(
        self, kept: Kept[EventConfig], functions: Functions, *, clock: Clock
    ) -> None:
        self._kept = kept
        self._functions = functions
        self._clock = clock

    def find(
        self, tenant_id: str, function: str, qualifier: str = ""
    ) -> EventConfig | None:
        """From memory, for each event. Never waits."""
        return self._kept.get(tenant_id, function, qualifier or LATEST)

    def get(self, tenant_id: str, function: str, qualifier: str = "") -> EventConfig:
        """Raises `NotFound`: of a function that is not there AWS says the same."""
        return self._existing(tenant_id, function, qualifier)

    def of(self, tenant_id: str, function: str, qualifier: str = "") -> EventConfig:
        """What is set, or that nothing is. Raises `NotFound`, which says whether it is
        the function that there is not, or the version or alias."""
        self._functions.find(tenant_id, function, qualifier)
        return self.find(tenant_id, function, qualifier) or self._nothing(
            tenant_id, function, qualifier
        )

    async def change(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        max_retries: int | None = None,
        max_age_s: int | None = None,
        on_success: str | None = None,
        on_failure: str | None = None,
    ) -> EventConfig:
        """Change what is given, whether anything was set or not; an empty destination
        is none. Raises as `put` does."""

        def made(old: EventConfig | None, now: datetime) -> EventConfig:
            old = old or self._nothing(tenant_id, function, qualifier)
            to = old.destinations
            destinations = Destinations(
                on_success=to.on_success if on_success is None else on_success,
                on_failure=to.on_failure if on_failure is None else on_failure,
            )
            return _changed(old, now, max_retries, max_age_s, destinations)

        return await self._change(tenant_id, function, qualifier, made)

    async def put(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        max_retries: int | None = None,
        max_age_s: int | None = None,
        destinations: Destinations | None = None,
    ) -> EventConfig:
        """Replace all of it by what is given. Raises `NotFound`, `InvalidParameter`."""

        def made(_: EventConfig | None, now: datetime) -> EventConfig:
            return EventConfig(
                tenant_id=tenant_id,
                function=function,
                qualifier=qualifier or LATEST,
                max_retries=max_retries,
                max_age_s=max_age_s,
                destinations=destinations or Destinations(),
                last_modified=now,
            )

        _check_something_is_given(max_retries, max_age_s, destinations)
        return await self._change(tenant_id, function, qualifier, made)

    async def update(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        max_retries: int | None = None,
        max_age_s: int | None = None,
        destinations: Destinations | None = None,
    ) -> EventConfig:
        """Change what is given. Raises as `put` does."""

        def made(old: EventConfig | None, now: datetime) -> EventConfig:
            if old is None:
                raise self._missing(tenant_id, function, qualifier)
            return _changed(old, now, max_retries, max_age_s, destinations)

        _check_something_is_given(max_retries, max_age_s, destinations)
        return await self._change(tenant_id, function, qualifier, made)

    async def delete(self, tenant_id: str, function: str, qualifier: str = "") -> None:
        """Raises `NotFound`."""

        async def delete() -> None:
            self._existing(tenant_id, function, qualifier)
            await self._kept.delete(tenant_id, function, qualifier or LATEST)

        await self._functions.in_turn(tenant_id, delete)

    # Last of the public ones: from here on `list` hides the builtin.
    def list(
        self, tenant_id: str, function: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[EventConfig], str]:
        """A page by qualifier, and the token of the next. Raises `NotFound`,
        `InvalidParameter`."""
        self._require(tenant_id, function)
        configs = self._kept.of(tenant_id, function)
        page, token = page_of(sorted(configs), page_size, page_token)
        return [configs[qualifier] for qualifier in page], token

    # --- in turn ------------------------------------------------------------------

    async def _change(
        self,
        tenant_id: str,
        function: str,
        qualifier: str,
        made: Callable[[EventConfig | None, datetime], EventConfig],
    ) -> EventConfig:
        async def change() -> EventConfig:
            self._require(tenant_id, function, qualifier)
            old = self.find(tenant_id, function, qualifier)
            config = made(old, self._clock.now())
            self._check(config)
            return await self._kept.put(tenant_id, function, config.qualifier, config)

        return await self._functions.in_turn(tenant_id, change)

    def _nothing(self, tenant_id: str, function: str, qualifier: str) -> EventConfig:
        return EventConfig(
            tenant_id=tenant_id,
            function=function,
            qualifier=qualifier or LATEST,
            last_modified=self._clock.now(),
        )

    # --- checks -------------------------------------------------------------------

    def _require(self, tenant_id: str, function: str, qualifier: str = "") -> None:
        try:
            self._functions.find(tenant_id, function, qualifier)
        except NotFound as error:
            raise NotFound(_NO_FUNCTION, kind="function", name=function) from error

    def _existing(self, tenant_id: str, function: str, qualifier: str) -> EventConfig:
        config = self.find(tenant_id, function, qualifier)
        if config is None:
            raise self._missing(tenant_id, function, qualifier)
        return config

    def _missing(self, tenant_id: str, function: str, qualifier: str) -> NotFound:
        arn = self._functions.arn(tenant_id, function, qualifier or LATEST)
        return NotFound(
            f"The function {arn} doesn't have an EventInvokeConfig", kind="event-config"
        )

    def _check(self, config: EventConfig) -> None:
        _check_number("MaximumRetryAttempts", config.max_retries, MAX_RETRIES)
        _check_number("MaximumEventAgeInSeconds", config.max_age_s, MAX_AGE_S)
        to = config.destinations
        self._check_destination(config, to.on_success, of_failures=False)
        self._check_destination(config, to.on_failure, of_failures=True)

    def _check_destination(
        self, config: EventConfig, arn: str, *, of_failures: bool
    ) -> None:
        if not arn:
            return
        tenant_id = config.tenant_id
        target = destination_of(
            arn,
            tenant_id=tenant_id,
            of_failures=of_failures,
            endpoints=self._functions.endpoints,
        )
        if target.service != "lambda":
            return
        try:
            found = self._functions.find(tenant_id, target.name, target.qualifier)
        except NotFound as error:
            raise bad_destination(arn) from error
        check_is_not_isolated(found, "A destination")
        if target.name == config.function:
            raise InvalidParameter(
                "You can't specify the function as a destination for itself.",
                field="destinations",
            )


def _changed(
    old: EventConfig,
    now: datetime,
    max_retries: int | None,
    max_age_s: int | None,
    destinations: Destinations | None,
) -> EventConfig:
    """What is None stays."""
    return replace(
        old,
        max_retries=old.max_retries if max_retries is None else max_retries,
        max_age_s=old.max_age_s if max_age_s is None else max_age_s,
        destinations=old.destinations if destinations is None else destinations,
        last_modified=now,
    )


def _check_something_is_given(*given: object) -> None:
    if all(each is None for each in given):
        raise InvalidParameter(
            "You must specify at least one of error handling or destination setting."
        )


def _check_number(name: str, value: int | None, allowed: range) -> None:
    if value is not None and value not in allowed:
        raise InvalidParameter(
            f"{name} is {value}; it must be {allowed.start} to {allowed.stop - 1}.",
            field=name,
        )
