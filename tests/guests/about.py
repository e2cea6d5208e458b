"""Tells what it finds around itself."""

import logging
import os


def handler(event, context):
    logging.getLogger().warning("a warning")
    client = context.client_context
    return {
        "environment": dict(os.environ),
        "cwd": os.getcwd(),
        "repr": repr(context),
        "remaining_ms": context.get_remaining_time_in_millis(),
        "client_context": client
        and {
            "custom": client.custom,
            "env": client.env,
            "app_title": client.client.app_title,
        },
        "identity": [
            context.identity.cognito_identity_id,
            context.identity.cognito_identity_pool_id,
        ],
        "context": {
            name: getattr(context, name)
            for name in (
                "aws_request_id",
                "function_name",
                "function_version",
                "invoked_function_arn",
                "log_group_name",
                "log_stream_name",
                "memory_limit_in_mb",
                "tenant_id",
            )
        },
    }
