"""Which audio track is transcribed, as far as an upload can say it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from stt_core.services import Services
from tests.api.conftest import upload, wav


@pytest.fixture(scope="module", params=[2, 60], ids=["in memory", "on disk"])
def two_tracks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("tracks") / "two.mka"
    sines = [part for hertz in (300, 500) for part in ("-f", "lavfi", "-i", f"sine=f={hertz}:d={request.param}")]
    languages = ["-metadata:s:a:0", "language=ger", "-metadata:s:a:1", "language=eng"]
    maps = ["-map", "0:a", "-map", "1:a", *languages, "-c:a", "flac" if request.param == 2 else "pcm_s16le"]
    subprocess.run([get_ffmpeg_exe(), "-v", "error", *sines, *maps, path], check=True)
    return path.read_bytes()


def test_upload_when_the_track_is_there_keeps_it(client: httpx.Client, services: Services, two_tracks: bytes) -> None:
    answer = upload(client, two_tracks, track="2")
    assert answer.status_code == 202, answer.text
    assert services.jobs.get_job(answer.json()["job_id"]).options.track == 2


def test_upload_when_the_track_is_not_there_is_refused_and_names_those_that_are(
    client: httpx.Client, two_tracks: bytes
) -> None:
    answer = upload(client, two_tracks, track="3")
    assert answer.status_code == 422
    assert "no audio track 3; it has 2: 1 (ger" in answer.json()["detail"]
    assert upload(client, wav(1), track="2").status_code == 422


@pytest.mark.parametrize("track", ["0", "-1", "first", "1.5"])
def test_upload_when_the_track_is_no_number_is_refused(client: httpx.Client, track: str) -> None:
    assert upload(client, wav(1), track=track).status_code == 400


def test_presigned_upload_when_the_track_is_not_there_is_refused_once_its_bytes_are(
    client: httpx.Client, two_tracks: bytes
) -> None:
    for track, expected in ((3, 422), (2, 202)):
        announced = client.post("/api/v1/tasks/presign", json={"filename": "a.mka", "track": track}).json()
        httpx.put(announced["upload"]["url"], content=two_tracks).raise_for_status()
        done = client.post(f"/api/v1/tasks/{announced['job']['job_id']}/complete")
        assert done.status_code == expected, done.text
