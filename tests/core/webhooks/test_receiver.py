"""The receiver of docs/api.md, as it is written there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from stt_core.services import Services
from stt_core.webhooks.sending import send_due_webhooks
from tests.conftest import wait_until
from tests.core.webhooks.conftest import SECRET, ended_job

DOCUMENT = Path(__file__).parents[3] / "docs" / "api.md"


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the documented receiver listens."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    section = DOCUMENT.read_text(encoding="utf-8").partition("\n## Webhooks\n")[2]
    names: dict[str, Any] = {}
    exec(section.partition("```python\n")[2].partition("```")[0], names)
    server = uvicorn.Server(uvicorn.Config(names["app"], host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "the receiver serving")
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
    server.should_exit = True
    thread.join(timeout=20)


def test_receiver_when_written_as_documented_then_takes_what_we_sign_and_nothing_else(
    services: Services, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ended_job(services, url)
    assert send_due_webhooks(services) == {"delivered": 1}
    assert capsys.readouterr().out == f"job.cancelled {job.job_id}\n"

    forged = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    assert httpx.post(url, content=b"{}", headers=forged).status_code == 401
