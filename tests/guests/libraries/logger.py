from aws_lambda_powertools import Logger

logger = Logger(service="orders", level="INFO")


@logger.inject_lambda_context(log_event=True, correlation_id_path="id")
def handler(event, context):
    logger.info("an order", extra={"order": event["order"]})
    return "logged"
