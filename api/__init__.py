"""The HTTP door: routes that each call one function of the core. Run it with
`uvicorn api.main:app --http api.server:HTTP`."""

from stt_core.logged_calls import log_calls_of

log_calls_of(__name__)
