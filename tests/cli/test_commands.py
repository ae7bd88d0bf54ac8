"""The commands that need no stack, and how errors look."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from stt_cli.client import ApiClient, ApiRefusedError, ApiUnreachableError
from stt_cli.demo import word_error_rate
from stt_cli.local_stack.home import free_port
from stt_core.errors import InvalidInputError
from stt_core.settings import Settings
from stt_core.stores.object_store import ObjectStore
from tests.api.conftest import serve_app, upload
from tests.cli.conftest import Stt


@pytest.mark.parametrize("command", [["status", "0" * 32], ["cancel", "0" * 32], ["transcribe", __file__]])
def test_command_when_no_api_answers_then_says_to_start_it(stt: Stt, command: list[str]) -> None:
    done = stt(*command, STT_API_PORT=str(free_port()))
    assert done.exit_code == 1
    assert "does not answer" in done.stderr
    assert "mend: Start it with `stt up`" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("job_id", ["", "../../health", "0" * 33, "?"])
def test_client_when_the_job_id_is_none_then_asks_nobody(job_id: str) -> None:
    with ApiClient(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(InvalidInputError, match="no job id"):
        client.job(job_id)


def test_transcribe_when_the_file_is_missing_then_says_so(stt: Stt) -> None:
    done = stt("transcribe", "absent.wav")
    assert done.exit_code == 1
    assert "absent.wav cannot be read" in done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [(["--max-line-width", "42"], "text has no lines"), (["-o", "srt", "--max-line-count", "2"], "--max-line-width")],
)
def test_transcribe_when_its_subtitles_cannot_be_laid_out_then_sends_nothing(
    stt: Stt, options: list[str], problem: str
) -> None:
    done = stt("transcribe", __file__, *options, STT_API_PORT=str(free_port()))
    assert done.exit_code == 1
    assert problem in done.stderr


def test_command_when_a_setting_is_wrong_then_names_the_variable(stt: Stt) -> None:
    done = stt("up", STT_API_PORT="70000")
    assert done.exit_code == 1
    assert "STT_API_PORT" in done.stderr


def test_up_when_the_object_store_has_no_keys_then_starts_nothing_and_names_them(stt: Stt, tmp_path: Path) -> None:
    done = stt("up", MINIO_ENDPOINT="s3.example:9000")
    assert done.exit_code == 1
    assert "MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set" in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("options", [[], ["--detach"]], ids=str)
def test_up_when_a_password_is_wrong_then_says_so_in_one_line_and_starts_nothing(
    stt: Stt, embedded_servers: dict[str, str], tmp_path: Path, options: list[str]
) -> None:
    ports = {"STT_API_PORT": str(free_port()), "STT_DAGSTER_PORT": str(free_port())}
    begun = time.monotonic()
    done = stt("up", *options, **embedded_servers | {"REDIS_PASSWORD": "wrong"} | ports)
    assert time.monotonic() - begun < 2
    assert done.exit_code == 1
    assert re.fullmatch(r"error: Redis refused ping: .*[^.]\.\n +mend: Check REDIS_PASSWORD\.\n", done.stderr)
    assert not (tmp_path / "home").exists()


def test_up_when_a_server_of_the_users_does_not_answer_then_says_which_and_starts_nothing(
    stt: Stt, embedded_servers: dict[str, str], tmp_path: Path
) -> None:
    ports = {"STT_API_PORT": str(free_port()), "STT_DAGSTER_PORT": str(free_port())}
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and answers nothing
        url = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?directConnection=true"
        done = stt("up", **embedded_servers | {"MONGODB_URL": url} | ports)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: MongoDB is not reachable (ping)")
    assert done.stderr.count("\n") == 2
    assert not (tmp_path / "home").exists()


def test_doctor_when_a_setting_is_wrong_then_shows_it_and_how_to_mend_it(stt: Stt) -> None:
    done = stt("doctor", MONGODB_URL="http://db", REDIS_PASSWORD="hidden-secret")
    assert done.exit_code == 1
    assert "MONGODB_URL" in done.stdout
    assert "mend: " in done.stdout
    assert "hidden-secret" not in done.stdout + done.stderr


def test_doctor_when_things_are_missing_then_names_each_one_with_its_mend(stt: Stt) -> None:
    done = stt(
        "doctor",
        WHISPER_CPP_EXECUTABLE="/no/whisper",
        FFMPEG_EXECUTABLE="/no/ffmpeg",
        REDIS_HOST="127.0.0.1",
        REDIS_PORT=str(free_port()),
        REDIS_TIMEOUT_SECONDS="1",
    )
    assert done.exit_code == 1
    rows = [line.split() for line in done.stdout.splitlines()]
    problems = {" ".join(row[1:3]) for row in rows if row and row[0] == "problem"}
    assert {"whisper executable", "model base"} <= problems
    assert {row[1] for row in rows if row and row[0] == "problem"} >= {"ffmpeg", "redis"}
    assert "mend: Run `stt models download base`" in done.stdout


def test_doctor_when_all_is_there_then_exits_with_0(stt: Stt) -> None:
    ports = {"STT_API_PORT": str(free_port()), "STT_DAGSTER_PORT": str(free_port())}
    done = stt("doctor", WHISPER_MODEL="demo", **ports)
    assert done.exit_code == 0, done.stdout
    assert "problem" not in done.stdout


def test_models_list_when_asked_then_shows_the_demo_with_its_warning_and_base_as_not_here(stt: Stt) -> None:
    done = stt("models", "list")
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "266" in rows["demo"]
    assert " yes " in rows["demo"]
    assert " yes " not in rows["base"]


def test_models_download_when_the_name_is_unknown_then_says_where_the_names_are(stt: Stt) -> None:
    done = stt("models", "download", "no-such-model")
    assert done.exit_code == 1
    assert "stt models list" in done.stderr


def test_ps_and_down_when_nothing_runs_then_say_so(stt: Stt) -> None:
    assert (stt("ps").exit_code, stt("down").exit_code) == (1, 0)
    assert "No stack runs" in stt("ps").stderr
    assert "No stack runs" in stt("down").stderr


def test_word_error_rate_when_only_case_and_punctuation_differ_then_is_zero() -> None:
    assert word_error_rate("Good morning, it's Monday.", "good morning it's monday") == 0
    assert word_error_rate("one two three four", "one two three") == pytest.approx(0.25)


def test_keys_when_made_listed_and_revoked_then_only_the_token_is_standard_output(
    stt: Stt, embedded_servers: dict[str, str]
) -> None:
    reached = embedded_servers | {"MONGODB_DATABASE": f"t{os.urandom(6).hex()}"}
    made = stt("keys", "create", "laptop", "--scopes", "read, admin", "--rate", "60", "--concurrent", "3", **reached)
    assert made.exit_code == 0, made.stderr
    assert re.fullmatch(r"stt_[\w-]{43}\n", made.stdout)
    found = re.search(r"Key (\w{12}) of laptop", made.stderr)
    assert found

    listed = stt("keys", "list", **reached).stdout
    assert re.search(rf"{found[1]} +laptop +admin,read +60 +3 +\d{{4}}-\d\d-\d\d *$", listed, re.MULTILINE)
    assert made.stdout.strip() not in listed
    assert stt("keys", "revoke", found[1], **reached).exit_code == 0
    assert re.search(rf"{found[1]} .*(\d{{4}}-\d\d-\d\d) +\1", stt("keys", "list", **reached).stdout)


def test_keys_when_asked_for_nonsense_then_says_what_there_is(stt: Stt, embedded_servers: dict[str, str]) -> None:
    refused = stt("keys", "create", "laptop", "--scopes", "everything", **embedded_servers)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "read, write, admin" in refused.stderr
    assert "`stt keys list`" in stt("keys", "revoke", "nobody", **embedded_servers).stderr


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> ApiClient:
    """A client whose edge is played: an API that answers so."""
    client = ApiClient("http://127.0.0.1:1", SecretStr("stt_x"))
    client._http = httpx.Client(
        transport=httpx.MockTransport(answer), base_url="http://api", headers=client._http.headers
    )
    return client


def test_client_when_the_key_has_asked_too_often_then_comes_back_when_told() -> None:
    answers = [httpx.Response(429, headers={"Retry-After": "0"}), httpx.Response(404, json={"detail": "No job."})]
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return answers[len(seen) - 1]

    with answering(answer) as client, pytest.raises(ApiRefusedError, match="No job"):
        client.job("0" * 32)
    assert seen == ["Bearer stt_x"] * 2


def test_client_when_a_server_behind_the_api_is_away_then_takes_it_for_an_api_that_is() -> None:
    away = httpx.Response(503, json={"detail": "MongoDB is away.", "mend": "Wait."})
    with answering(lambda _: away) as client, pytest.raises(ApiUnreachableError, match="MongoDB is away"):
        client.job("0" * 32)


def test_delete_when_a_job_is_listed_then_takes_it_off_the_list(stt: Stt, settings: Settings) -> None:
    with serve_app(create_app(settings)) as client:
        older, newer = (
            upload(client, name=f"{name}.wav", model="demo").json()["job_id"] for name in ("first", "second")
        )
        address = ("--api-url", str(client.base_url))

        page = stt("list", "--limit", "1", "--status", "queued", *address)
        assert newer in page.stdout and "second.wav" in page.stdout and older not in page.stdout
        assert f"--cursor {newer}" in page.stderr
        assert older in stt("list", "--cursor", newer, *address).stdout

        assert stt("delete", newer, *address).stderr == f"job {newer} is deleted\n"
        assert newer not in stt("list", *address).stdout
        again = stt("delete", newer, *address)
        assert (again.exit_code, "was deleted" in again.stderr) == (1, True)


def test_doctor_when_a_name_in_dotenv_is_nearly_a_settings_then_names_that(stt: Stt, tmp_path: Path) -> None:
    lines = (
        "WHISPER_MODLE=demo\nSTT_COLOUR=blue\nMONGODB_PASSWORD=x\nPOSTGRES_PASSWORD=x\nAWS_REGION=x\nLOG_LEVEL=INFO\n"
    )
    (tmp_path / ".env").write_text(lines)
    done = stt("doctor", COLUMNS="200")
    assert done.exit_code == 1
    assert "WHISPER_MODLE in .env is no setting" in done.stdout
    assert "Is WHISPER_MODEL meant?" in done.stdout
    assert "STT_COLOUR in .env is no setting" in done.stdout
    assert done.stdout.count("is no setting") == 2


def test_doctor_when_no_stack_runs_then_says_so(stt: Stt) -> None:
    assert re.search(r"ok +stack +does not run here; `stt up` starts it", stt("doctor", COLUMNS="200").stdout)


def test_doctor_when_the_bucket_of_a_source_is_not_there_then_names_it(
    stt: Stt, embedded_servers: dict[str, str], settings: Settings
) -> None:
    ObjectStore(settings).ensure_bucket()
    sources = json.dumps([{"bucket": settings.minio_bucket, "prefix": "a/"}, {"bucket": "no-such-bucket"}])
    own = {"MINIO_BUCKET": settings.minio_bucket, "BACKFILL_SOURCES": sources, "COLUMNS": "200"}
    done = stt("doctor", **embedded_servers, **own)
    assert re.search(r"problem +bucket no-such-bucket +There is no bucket no-such-bucket", done.stdout), done.stdout
    assert re.search(rf"ok +bucket {settings.minio_bucket} +is there", done.stdout)
