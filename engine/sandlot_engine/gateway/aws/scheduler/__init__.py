"""EventBridge Scheduler's API, by botocore's model of it, as `gateway/aws` has
Lambda's."""
