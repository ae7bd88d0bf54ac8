"""What `/metrics` tells: read by Prometheus' own parser, on real servers."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stt_cli.local_stack.home import free_port
from stt_core.metrics import Spread, Tally
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.warnings import WarningName
from tests.api.conftest import Serve, upload, wav


def figures(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_metrics_when_a_recording_was_uploaded_then_it_is_counted_everywhere(
    serve: Serve, settings: Settings, services: Services
) -> None:
    with serve(settings) as client:
        before = figures(client)
    content = wav(2)
    with serve(settings) as client:  # anew, since figures may be a few seconds old
        job_id = upload(client, content, priority="high").json()["job_id"]
        services.tallies.count({Tally.ENGINE_RESTARTS: 2, Tally.CHUNK_FAILURES: 1})
        services.tallies.count_warnings([WarningName.CUT_OFF, WarningName.UNREAD, WarningName.CUT_OFF])
        services.tallies.observe({Spread.WAIT_SECONDS: 0.7, Spread.REAL_TIME_FACTOR: 0.3})
        after = figures(client)
        client.post(f"/api/v1/tasks/{job_id}/cancel")

    def rise(*name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert rise("stt_uploads_total") == 1
    assert rise("stt_upload_bytes_total") == len(content)
    assert rise("stt_jobs", "queued") == 1
    assert rise("stt_queue_jobs", "high") == 1
    assert rise("stt_queue_audio_seconds", "estimated") == pytest.approx(len(content) / 16_000)
    assert (rise("stt_engine_restarts_total"), rise("stt_chunk_failures_total")) == (2, 1)
    assert [rise("stt_job_wait_seconds_bucket", bound) for bound in ("0.5", "1.0", "2.5", "+Inf")] == [0, 1, 1, 1]
    assert (rise("stt_job_wait_seconds_count"), round(rise("stt_job_wait_seconds_sum"), 6)) == (1, 0.7)
    assert [rise("stt_transcript_warnings_total", name) for name in ("cut_off", "unread", "damaged")] == [2, 1, 0]
    assert rise("stt_job_real_time_factor_count") == 1
    assert rise("stt_http_request_seconds_count", "upload_task", "202") == 1
    assert (after["stt_server_up", "mongodb"], after["stt_server_up", "redis"]) == (1, 1)
    assert after["process_resident_memory_bytes",] > 0


def test_metrics_when_paths_are_made_up_then_they_make_no_figures_of_their_own(
    serve: Serve, settings: Settings
) -> None:
    with serve(settings) as client:
        for number in range(5):
            client.get(f"/made-up/{number}")
        assert "made-up" not in client.get("/metrics").text


def test_metrics_when_a_server_is_away_then_the_others_are_shown(serve: Serve, settings: Settings) -> None:
    with serve(settings.model_copy(update={"redis_port": free_port()})) as client:
        shown = figures(client)

    assert (shown["stt_server_up", "mongodb"], shown["stt_server_up", "redis"]) == (1, 0)
    assert ("stt_jobs", "queued") in shown
    assert ("stt_queue_jobs", "high") not in shown


def test_metrics_when_asked_often_then_the_servers_are_asked_once(serve: Serve, settings: Settings) -> None:
    with serve(settings) as client:
        before = figures(client)
        upload(client)
        again = figures(client)
        assert again["stt_uploads_total",] == before["stt_uploads_total",]
