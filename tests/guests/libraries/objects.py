from aws_lambda_powertools.utilities.data_classes import S3Event, event_source


@event_source(data_class=S3Event)
def handler(event: S3Event, context):
    keys = [record.s3.get_object.key for record in event.records]
    return {"bucket": event.bucket_name, "keys": keys}
