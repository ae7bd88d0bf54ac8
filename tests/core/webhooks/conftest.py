"""A receiver of webhooks on this machine, and the core that tells it of jobs."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from stt_core.jobs.job import JobCreate, JobModel, JobOptions
from stt_core.jobs.recovery import cancel_job
from stt_core.services import Services
from stt_core.settings import Settings

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver:
    """Verifies what it is sent as receivers do, and answers with the statuses it is told, the last one again."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.statuses = [204]
        self.headers: dict[str, str] = {}
        #: Requests wait for it before they are answered.
        self.open = threading.Event()
        self.open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.messages.append(Webhook(SECRET).verify(body, dict(self.headers)))
                receiver.ids.append(self.headers["webhook-id"])
                receiver.open.wait(30)
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def do_GET(self) -> None:
                receiver.messages.append({"type": "redirected"})

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=1"

    def __enter__(self) -> Receiver:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_secret": SecretStr(SECRET), "webhook_allow": ("127.0.0.1",)})


def create_job(services: Services, url: str | None) -> JobModel:
    return services.jobs.create_job(
        JobCreate(filename="talk.mp3", options=JobOptions(model="demo"), callback_url=url, metadata={"order": 7})
    )


def ended_job(services: Services, url: str | None) -> JobModel:
    return cancel_job(services.jobs, create_job(services, url).job_id)
