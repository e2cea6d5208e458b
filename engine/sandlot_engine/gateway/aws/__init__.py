"""AWS Lambda's HTTP API: wire <-> model, and nothing else."""
