"""Every call that the engine knows, as data: what to send and how to read the answer.

Pure. The two clients carry calls out, one blocking and one not, and so share all
that is in here, by subject; `steps` puts calls together into longer errands. Those
about triggers are in `sandlot.triggers`.
"""

from sandlot.calls.call import PAGE_SIZE, READS, Call
from sandlot.calls.concurrency import (
    delete_provisioned_concurrency,
    delete_reserved_concurrency,
    get_concurrency,
    get_provisioned_concurrency,
    list_provisioned_concurrency,
    put_provisioned_concurrency,
    put_reserved_concurrency,
)
from sandlot.calls.events import (
    get_event,
    get_event_payload,
    list_events,
    purge_events,
    redrive_events,
)
from sandlot.calls.functions import (
    FIELDS,
    FunctionOptions,
    create_function,
    delete_function,
    get_function,
    list_functions,
    update_code,
    update_configuration,
)
from sandlot.calls.invocations import (
    INVOKE_MANY,
    MAX_EVENT,
    MAX_QUEUED_EVENT,
    check_event_size,
    encode,
    invoke,
    invoke_request,
    invoke_stream,
    list_invocations,
    tail_logs,
)
from sandlot.calls.layers import (
    delete_layer_version,
    list_layer_versions,
    list_layers,
    publish_layer,
)
from sandlot.calls.tenants import (
    create_key,
    create_tenant,
    delete_tenant,
    get_bill,
    get_status,
    import_key,
    list_keys,
    list_runtimes,
    list_tenants,
    revoke_key,
    update_tenant,
)
from sandlot.calls.urls import delete_url, list_urls, put_url
from sandlot.calls.versions import (
    delete_alias,
    delete_version,
    list_aliases,
    list_versions,
    publish_version,
    put_alias,
)

__all__ = [
    "FIELDS",
    "INVOKE_MANY",
    "MAX_EVENT",
    "MAX_QUEUED_EVENT",
    "PAGE_SIZE",
    "READS",
    "Call",
    "FunctionOptions",
    "check_event_size",
    "create_function",
    "create_key",
    "create_tenant",
    "delete_alias",
    "delete_function",
    "delete_layer_version",
    "delete_provisioned_concurrency",
    "delete_reserved_concurrency",
    "delete_tenant",
    "delete_url",
    "delete_version",
    "encode",
    "get_bill",
    "get_concurrency",
    "get_event",
    "get_event_payload",
    "get_function",
    "get_provisioned_concurrency",
    "get_status",
    "import_key",
    "invoke",
    "invoke_request",
    "invoke_stream",
    "list_aliases",
    "list_events",
    "list_functions",
    "list_invocations",
    "list_keys",
    "list_layer_versions",
    "list_layers",
    "list_provisioned_concurrency",
    "list_runtimes",
    "list_tenants",
    "list_urls",
    "list_versions",
    "publish_layer",
    "publish_version",
    "purge_events",
    "put_alias",
    "put_provisioned_concurrency",
    "put_reserved_concurrency",
    "put_url",
    "redrive_events",
    "revoke_key",
    "tail_logs",
    "update_code",
    "update_configuration",
    "update_tenant",
]
