"""`python -m stt_dagster.code_server`: see `stt_dagster.runtime.code_server`."""
