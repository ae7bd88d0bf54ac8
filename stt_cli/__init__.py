"""The terminal door: `stt`. It speaks HTTP to the API and runs the local stack; it never imports the other doors."""

from stt_core.logged_calls import log_calls_of

log_calls_of(__name__)
