"""AWS Lambda's HTTP API: wire <-> model, nothing else. Routes, shapes, constraints and
errors are botocore's service model, so that nothing here knows a single operation."""
