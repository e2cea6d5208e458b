"""What makes functions run without a caller: schedules, webhooks, buckets, folders."""
