"""The process behind `uvicorn api.main:app`: logging for all of it, the server's own lines too, and the app."""

from __future__ import annotations

import logging

from api.app import create_app
from stt_core.logs import setup_logging


def adopt_server_logging() -> None:
    """Send uvicorn's lines through our logging; its access log is off, since every request has a line of ours."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        server_logger = logging.getLogger(name)
        server_logger.handlers.clear()
        server_logger.propagate = True
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)


# Here and not at startup: the server speaks before it starts the app.
setup_logging()
adopt_server_logging()
app = create_app()
