"""How a function's owner, and the catalog, have its events treated."""

from sandlot_engine.catalog.event_configs import EventConfigs
from sandlot_engine.catalog.functions import Functions
from sandlot_engine.errors import NotFound
from sandlot_engine.events.verdicts import MAX_AGE_S, MAX_RETRIES, Settings
from sandlot_engine.model.event import Event
from sandlot_engine.model.settings import RecursiveLoop


class EventSettings:
    """Looks them up, from memory, anew for each attempt: what has changed since an
    event came holds for it, too."""

    def __init__(self, functions: Functions, configs: EventConfigs) -> None:
        self._functions = functions
        self._configs = configs

    def of(self, event: Event) -> Settings:
        """The defaults where nothing is set, or the function is gone."""
        tenant_id, name = event.tenant_id, event.function
        config = self._configs.find(tenant_id, name, event.qualifier)
        loop = self._functions.settings.of(tenant_id, name).recursive_loop
        max_retries = config.max_retries if config else None
        max_age_s = config.max_age_s if config else None
        return Settings(
            max_retries=MAX_RETRIES if max_retries is None else max_retries,
            max_age_s=MAX_AGE_S if max_age_s is None else max_age_s,
            on_success=config.destinations.on_success if config else "",
            on_failure=config.destinations.on_failure if config else "",
            dead_letter=self._dead_letter(event),
            is_switched_off=self._functions.reserved(tenant_id).get(name) == 0,
            may_recurse=loop is RecursiveLoop.ALLOW,
        )

    def _dead_letter(self, event: Event) -> str:
        try:
            function = self._functions.find(
                event.tenant_id, event.function, event.qualifier
            )
        except NotFound:
            return ""
        return function.current.config.dead_letter_arn
