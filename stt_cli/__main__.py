"""`python -m stt_cli` is `stt`; a detached stack is started this way."""

from stt_cli.main import app

app()
