"""`stt backfill` without a Dagster: what it selects, and what it says where it cannot go on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from api.app import create_app
from stt_cli import backfill
from stt_cli.local_stack.home import free_port
from stt_cli.watching import BackfillFailedError
from stt_core import object_keys
from stt_core.backfill.objects import BucketObjects
from stt_core.errors import SttError
from stt_core.jobs.claims import ensure_claim
from stt_core.jobs.job import JobError, JobUpdate
from stt_core.services import Services
from stt_core.settings import Settings
from stt_core.sources import BackfillSource
from tests.api.backfills import complete_version, discover, open_version
from tests.api.conftest import claim, publish, serve_app
from tests.cli.conftest import Stt


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"backfill_sources": (BackfillSource(bucket="calls"), BackfillSource(bucket="gone"))}
    )


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with closing(Services.open(settings)) as services:
        services.prepare()
        services.store.in_bucket("calls").ensure_bucket()
        yield services


@pytest.fixture(autouse=True)
def client(settings: Settings, services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Run an API for the commands, and no Dagster."""
    with serve_app(create_app(settings)) as client:
        monkeypatch.setenv("STT_API_URL", str(client.base_url))
        monkeypatch.setenv("STT_DAGSTER_URL", f"http://127.0.0.1:{free_port()}")
        yield client


def test_backfill_when_it_cannot_go_on_then_says_why_and_how_to_mend_it(services: Services) -> None:
    def refusal(where: str, model: str | None = None, **flags: bool) -> str:
        with pytest.raises(SttError) as caught:
            backfill.run(where, model=model, **flags)
        assert caught.value.expected and caught.value.mend
        return str(caught.value)

    assert "BACKFILL_SOURCES has calls" in refusal("nowhere")
    assert "No object of calls is known" in refusal("calls/2026/")
    assert "There is no bucket gone. Create it, or correct its name" in refusal("gone")
    assert "exclude each other" in refusal("calls", failed=True, all_=True)
    discover(services, "a.wav")
    assert "The model nonsense is not there" in refusal("calls", model="nonsense")
    assert "Dagster at http://127.0.0.1" in refusal("calls")


@pytest.mark.parametrize("wanted", [{}, {"failed": True}, {"model": "demo"}], ids=str)
def test_backfill_when_nothing_is_to_do_then_says_so_and_asks_no_dagster(
    services: Services, capsys: pytest.CaptureFixture[str], wanted: dict[str, Any]
) -> None:
    complete_version(services, discover(services, "a.wav"), model="demo")
    backfill.run("calls", **wanted)

    said = capsys.readouterr()
    assert "Nothing to do: of 1 object none is" in said.err
    assert said.out == ""


def test_promote_when_a_model_has_transcribed_some_then_says_how_many(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("a.wav", "b.wav"):
        complete_version(services, discover(services, key), model="base")
    better = complete_version(services, discover(services, "a.wav"), model="large")
    backfill.promote("calls", model="large")

    said = "1 object promoted to large; 0 had it before, 1 have no transcript by it."
    assert said in capsys.readouterr().err
    assert BucketObjects.of(services).get("calls/a.wav").current_job_id == better


def test_promote_when_some_cannot_be_then_promotes_the_others_and_names_each_with_its_mend(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    better = {}
    for name in "abcd":
        partition = discover(services, f"{name}.wav")
        complete_version(services, partition, model="base")
        better[name] = complete_version(services, partition, model="large")
    for lost in "ac":
        services.store.remove_prefix(object_keys.result_prefix(better[lost], 1))

    with pytest.raises(SttError, match="2 objects could not be promoted") as caught:
        backfill.promote("calls", model="large")

    assert caught.value.mend
    said = capsys.readouterr().err
    assert "2 objects promoted to large; 0 had it before, 0 have no transcript by it." in said
    for lost in "ac":
        assert f"  {lost}.wav: There is no such object" in said
    for name in "bd":
        assert BucketObjects.of(services).get(f"calls/{name}.wav").current_job_id == better[name]
        assert better[name].encode() in services.store.get_bytes(f"transcripts/calls/{name}.wav.json")


class FakeDagster:
    """Plays Dagster's GraphQL, the edge that is not ours: one backfill under way, and the one that is launched.

    Its answers have the form that `tests/system/test_backfill.py` meets in the real one.
    """

    def __init__(self, *, under_way: Sequence[str] = (), failed: int = 0) -> None:
        self.under_way, self.failed = under_way, failed
        self.launched: list[dict[str, Any]] = []
        self.states: Iterator[str] = chain(["REQUESTED"], repeat("COMPLETED_FAILED" if failed else "COMPLETED_SUCCESS"))

    @contextmanager
    def serving(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        """Be the Dagster of the settings; give its address."""
        app = FastAPI()
        app.post("/graphql")(self.answer)
        with serve_app(app) as client:
            url = str(client.base_url).rstrip("/")
            monkeypatch.setenv("STT_DAGSTER_URL", url)
            yield url

    async def answer(self, request: Request) -> dict[str, Any]:
        asked = await request.json()
        if "launchPartitionBackfill" in asked["query"]:
            self.launched.append(asked["variables"]["params"])
            return {"data": {"launchPartitionBackfill": {"__typename": "LaunchBackfillSuccess", "backfillId": "new"}}}
        if "partitionBackfillsOrError" in asked["query"]:
            targeted = {"partitionKeys": list(self.under_way)}
            results = [{"tags": [], "partitionsTargetedForAssetKey": targeted}]
            return {"data": {"partitionBackfillsOrError": {"__typename": "PartitionBackfills", "results": results}}}
        partitions = len(self.launched[-1]["partitionNames"])
        done = {"numPartitionsInProgress": 0, "numPartitionsMaterialized": partitions - self.failed}
        counts = done | {"numPartitionsTargeted": partitions, "numPartitionsFailed": self.failed}
        answer: dict[str, Any] = {"__typename": "PartitionBackfill", "status": next(self.states), "error": None}
        return {
            "data": {"partitionBackfillOrError": answer | {"assetBackfillData": {"assetBackfillStatuses": [counts]}}}
        }


def test_backfill_when_one_is_under_way_with_the_same_model_then_its_objects_are_left_out(
    services: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    partitions = [discover(services, f"{name}.wav") for name in "abc"]
    dagster = FakeDagster(under_way=partitions[:1])
    with dagster.serving(monkeypatch):
        backfill.run("calls", watch=True)
        backfill.run("calls", model="demo")

    same, other = dagster.launched
    assert (same["partitionNames"], same["tags"]) == (partitions[1:], [])
    assert (other["partitionNames"], other["tags"]) == (partitions, [{"key": "stt/model", "value": "demo"}])
    said = capsys.readouterr()
    assert said.out == "new\nnew\n"
    assert "1 of them are in a backfill under way already." in said.err
    assert "2 objects transcribed." in said.err


#: The command line; where the tests are a background job of a shell, that had it ignore Ctrl-C.
HEEDS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("stt_cli", run_name="__main__")
"""


def test_backfill_when_ctrl_c_ends_the_watching_then_says_that_it_goes_on_and_where(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discover(services, "a.wav")
    dagster = FakeDagster()
    dagster.states = repeat("REQUESTED")
    with dagster.serving(monkeypatch) as url:
        watching = subprocess.Popen(
            [sys.executable, "-c", HEEDS_CTRL_C, "backfill", "calls", "--watch"],
            cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert watching.stderr and "1 object launched" in watching.stderr.readline()
            watching.send_signal(signal.SIGINT)
            said = watching.communicate(timeout=120)[1]
        finally:
            watching.kill()

    assert f"The backfill goes on: {url}/runs/b/new" in said
    assert watching.returncode != 0
    assert "Traceback" not in said


Watch = Callable[..., None]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Run `stt backfill calls --watch` on a Dagster of which one run has failed, and in which this happens then."""
    monkeypatch.setattr("stt_cli.watching._INTERVAL", 0.05)

    def watch(*happens: Callable[[], object], **wanted: bool) -> None:
        dagster = FakeDagster(failed=1)

        def states() -> Iterator[str]:
            for happen in happens:
                happen()
                yield "COMPLETED_FAILED"
            yield from repeat("COMPLETED_FAILED")

        dagster.states = states()
        with dagster.serving(monkeypatch):
            backfill.run("calls", watch=True, **wanted)

    return watch


def fail(services: Services, job_id: str, message: str) -> None:
    """End a job's latest attempt as a run does that no other is to follow."""
    claim(services, job_id).fail(JobError(kind="no-audio", message=message))


def test_watching_when_a_run_failed_then_goes_on_until_a_later_attempt_has_passed_on_its_transcript(
    services: Services, watch: Watch, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # else no bar is shown
    partition = discover(services, "a.wav")
    job_id = ""

    def open_job() -> None:
        nonlocal job_id
        job_id = open_version(services, partition)

    watch(
        lambda: None,  # the failed run left no job: a sensor opens it
        open_job,
        lambda: publish(services, job_id),
        lambda: services.jobs.modify_job(job_id, lambda _: JobUpdate(release_due=False)),
    )

    said = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"done\W+1/1 +\d", said), said
    assert "1 object transcribed." in said


def test_watching_when_an_object_failed_before_then_tells_its_failure_of_now(
    services: Services, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = open_version(services, discover(services, "bad\x1b]0;\u202e[b].wav"))
    fail(services, job_id, "It is noise.")

    def take_again() -> None:
        again = ensure_claim(services.jobs, job_id, "run-2", attempt=None)
        again.fail(JobError(kind="no-audio", message="It is still noise."))

    with pytest.raises(BackfillFailedError, match="1 object has no new transcript"):
        watch(lambda: None, take_again, failed=True)

    said = capsys.readouterr().err
    assert r"bad\x1b]0;\u202e[b].wav: It is still noise." in said
    assert "0 objects transcribed." in said


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (lambda services, partition: None, "No run got as far as a job for it."),
        (lambda services, partition: publish(services, open_version(services, partition)), "is not in the output"),
        (lambda services, partition: BucketObjects.of(services).remove_many([partition]), "not in its bucket any more"),
    ],
    ids=["no-job", "not-passed-on", "vanished"],
)
def test_watching_when_nobody_sees_to_what_a_run_left_then_gives_up_and_says_why(
    services: Services,
    watch: Watch,
    happens: Callable[[Services, str], object],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("stt_cli.watching._NOTICE_SECONDS", 0.2)
    partition = discover(services, "a.wav")
    complete_version(services, partition)  # which is not a new one
    with pytest.raises(BackfillFailedError):
        watch(lambda: happens(services, partition), all_=True)
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--all", "nowhere"], 1, "error: No source of backfills is in the bucket nowhere."),
        (["promote", "nowhere", "--model", "demo"], 1, "error: No source of backfills is in the bucket nowhere."),
        (["--help"], 0, "BUCKET/PREFIX"),
    ],
)
def test_command_when_named_or_not_then_found(stt: Stt, arguments: list[str], status: int, said: str) -> None:
    done = stt("backfill", *arguments)
    assert done.exit_code == status
    assert said in done.output
