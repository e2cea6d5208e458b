from aws_lambda_powertools.utilities.validation import validator

ORDER = {
    "$schema": "http://json-schema.org/draft-07/schema",
    "type": "object",
    "properties": {"amount": {"type": "integer", "minimum": 1}},
    "required": ["amount"],
}


@validator(inbound_schema=ORDER)
def handler(event, context):
    return event["amount"] * 2
