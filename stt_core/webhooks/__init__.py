"""Webhooks: the signed request that tells a job's `callback_url` that the job has ended."""
