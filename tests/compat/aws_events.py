"""Events as AWS documents them, with what a test is about put in."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

ACCOUNT, REGION = "123456789012", "us-east-1"


def http_api(
    method: str, path: str, *, query: str = "", body: str | None = None
) -> dict[str, Any]:
    """What an HTTP API of API Gateway sends, in its version 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "api.example.org", "content-type": "application/json"},
        "queryStringParameters": dict(
            pair.split("=") for pair in query.split("&") if pair
        ),
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "api",
            "domainName": "api.example.org",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "a test",
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1_773_342_238_000,
        },
        "body": body,
        "isBase64Encoded": False,
    }


def rest_api(
    method: str, path: str, *, resource: str, parameters: dict[str, str], query: str
) -> dict[str, Any]:
    """What a REST API of API Gateway sends."""
    pairs = parse_qsl(query)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": {"Host": "api.example.org", "Accept": "*/*"},
        "multiValueHeaders": {"Host": ["api.example.org"], "Accept": ["*/*"]},
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": {n: [v] for n, v in pairs} or None,
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "api",
            "httpMethod": method,
            "path": f"/prod{path}",
            "resourcePath": resource,
            "requestId": "id",
            "stage": "prod",
            "identity": {"sourceIp": "192.0.2.1", "userAgent": "a test"},
        },
        "body": None,
        "isBase64Encoded": False,
    }


def load_balancer(method: str, path: str, *, query: str = "") -> dict[str, Any]:
    """What an Application Load Balancer sends."""
    group = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/orders/1"
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": dict(parse_qsl(query)),
        "headers": {
            "host": "orders.example.org",
            "accept": "*/*",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "body": "",
        "isBase64Encoded": False,
    }


def sqs(bodies: Iterable[object]) -> dict[str, Any]:
    """A batch of a standard queue."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": "MessageReceiptHandle",
                "body": json.dumps(body),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1545082649183",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": "1545082649185",
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders",
                "awsRegion": REGION,
            }
            for number, body in enumerate(bodies)
        ]
    }


def s3(bucket: str, key: str) -> dict[str, Any]:
    """A notification of an object that was put."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": REGION,
                "eventTime": "2019-09-03T19:37:27.192Z",
                "eventName": "ObjectCreated:Put",
                "userIdentity": {"principalId": "AWS:AIDAINPONIXQXHT3IKHL2"},
                "requestParameters": {"sourceIPAddress": "192.0.2.1"},
                "responseElements": {
                    "x-amz-request-id": "D82B88E5F771F645",
                    "x-amz-id-2": "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGV",
                },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "828aa6fc-f7b5-4305-8584-487c791949c1",
                    "bucket": {
                        "name": bucket,
                        "ownerIdentity": {"principalId": "A3I5XTEXAMAI3E"},
                        "arn": f"arn:aws:s3:::{bucket}",
                    },
                    "object": {
                        "key": key,
                        "size": 1_305_107,
                        "eTag": "b21b84d653bb07b05b1e6b33684dc11b",
                        "sequencer": "0C0F6F405D6ED209E1",
                    },
                },
            }
        ]
    }
