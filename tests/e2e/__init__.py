"""What users do: the CLI, the SDK and AWS's clients against `sandlot up`."""
