"""Remembers what it has done, in memory. Of boto3, which AWS's runtime brings along,
Powertools needs no more here than that it can be imported."""

import datetime
import sys
import types

for name in (
    "boto3",
    "boto3.dynamodb",
    "boto3.dynamodb.types",
    "botocore",
    "botocore.config",
    "botocore.exceptions",
):
    sys.modules[name] = types.ModuleType(name)
sys.modules["boto3.dynamodb.types"].TypeDeserializer = object
sys.modules["botocore.config"].Config = object
sys.modules["botocore.exceptions"].ClientError = Exception

from aws_lambda_powertools.utilities.idempotency import (
    BasePersistenceLayer,
    IdempotencyConfig,
    idempotent,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)


class Memory(BasePersistenceLayer):
    def __init__(self):
        self.records = {}
        super().__init__()

    def _get_record(self, idempotency_key):
        try:
            return self.records[idempotency_key]
        except KeyError:
            raise IdempotencyItemNotFoundError from None

    def _put_record(self, data_record):
        now = int(datetime.datetime.now().timestamp())
        known = self.records.get(data_record.idempotency_key)
        if known is not None and known.expiry_timestamp > now:
            raise IdempotencyItemAlreadyExistsError
        self.records[data_record.idempotency_key] = data_record

    def _update_record(self, data_record):
        self.records[data_record.idempotency_key] = data_record

    def _delete_record(self, data_record):
        del self.records[data_record.idempotency_key]


done = 0


@idempotent(
    config=IdempotencyConfig(event_key_jmespath="order"), persistence_store=Memory()
)
def handler(event, context):
    global done
    done += 1
    return {"order": event["order"], "done": done}
