from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.parser.models import APIGatewayProxyEventV2Model


@event_parser(model=APIGatewayProxyEventV2Model)
def handler(event, context):
    return {
        "method": event.requestContext.http.method,
        "path": event.rawPath,
        "query": event.queryStringParameters,
    }
