"""Bodies as the API's documentation shows them; built from the models, so that they cannot lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from api.openai.schemas import Model, ModelList
from api.schemas import Alive, Ready, Whoami
from stt_core.access.api_key import Scope
from stt_core.backfill.objects import ObjectState
from stt_core.backfill.promoting import Promotion, PromotionFailure
from stt_core.backfill.views import ObjectList, ObjectView, VersionView
from stt_core.jobs.job import ChunkStatus, JobError, JobResult, JobStatus, JobSummary, JobView, Priority, Progress
from stt_core.services import DependencyHealth
from stt_core.tasks.live_text import ChunkText
from stt_core.tasks.views import ChunkList, ChunkView, JobList, PresignedPut, PresignedUpload
from stt_core.transcript.document import QualityCheck, Segment, Transcript, TranscriptStatistics
from stt_core.transcript.formats import FORMATS, render
from stt_core.transcript.verbose import verbose

_JOB_ID = "0f8fad5bd9cb469fa16570867728950e"
_CREATED = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
_TEXT = "Good morning. Shall we begin?"

_checks = [
    QualityCheck(
        name="speech_coverage",
        passed=True,
        severity="warn",
        value=1.0,
        limit=0.8,
        description="0.0 s of 2.9 s of speech have no text.",
    )
]

_queued = JobView(
    job_id=_JOB_ID,
    status=JobStatus.QUEUED,
    stage=None,
    progress=Progress(),
    priority=Priority.NORMAL,
    filename="meeting.m4a",
    language="auto",
    model="base",
    attempt=1,
    error=None,
    queue_position=1,
    created_at=_CREATED,
    updated_at=_CREATED,
)
_completed = _queued.model_copy(
    update={
        "status": JobStatus.COMPLETED,
        "progress": Progress(chunks_done=1, chunks_total=1, audio_seconds_done=2.9, audio_seconds_total=2.9),
        "language": "en",
        "queue_position": None,
        "duration_seconds": 3.4,
        "started_at": _CREATED + timedelta(seconds=1),
        "updated_at": _CREATED + timedelta(seconds=6),
        "completed_at": _CREATED + timedelta(seconds=6),
        "run_id": "5b1f1f0e-9d5b-4a7e-8f3c-2b6f0c1d7e9a",
        "run_url": "http://127.0.0.1:3000/runs/5b1f1f0e-9d5b-4a7e-8f3c-2b6f0c1d7e9a",
        "result": JobResult(
            prefix=f"results/{_JOB_ID}/1/",
            formats=["json", "txt", "srt", "vtt", "tsv"],
            language="en",
            duration_seconds=3.4,
            words=5,
            segments=2,
            text_preview=_TEXT,
            model="base",
            confidence=0.92,
            speech_seconds=2.9,
            engine_seconds=1.8,
            cpu_seconds=3.4,
            checks=_checks,
        ),
    }
)
_transcript = Transcript(
    job_id=_JOB_ID,
    text=_TEXT,
    language="en",
    model="base",
    duration_seconds=3.4,
    segments=[
        Segment(index=0, start=0.3, end=1.2, text="Good morning.", chunk=0, confidence=0.94),
        Segment(index=1, start=1.6, end=3.1, text="Shall we begin?", chunk=0, confidence=0.91),
    ],
    statistics=TranscriptStatistics(words=5, speech_seconds=2.9, chunks=1, confidence=0.92),
    checks=_checks,
)

_chunk = ChunkView(
    index=0,
    channel=None,
    status=ChunkStatus.DONE,
    attempt=1,
    start_seconds=0.15,
    end_seconds=3.25,
    speech_seconds=2.9,
    dbfs=-23.4,
    language="en",
    words=5,
    cached=False,
    error=None,
    updated_at=_CREATED + timedelta(seconds=5),
)
_heard = ChunkText(index=0, channel=None, start_seconds=0.15, end_seconds=3.25, text=_TEXT)

_presigned = PresignedUpload(
    job=_queued.model_copy(update={"status": JobStatus.PENDING, "attempt": 0, "queue_position": None}),
    upload=PresignedPut(
        url=f"https://files.example.org/stt/uploads/{_JOB_ID}/incoming?X-Amz-Signature=…",
        expires_at=_CREATED + timedelta(hours=1),
    ),
)
_page = JobList(tasks=[JobSummary(**_completed.model_dump(include=set(JobSummary.model_fields)))], next_cursor=_JOB_ID)

_object = ObjectView(
    partition="calls/2026/meeting.m4a",
    bucket="calls",
    key="2026/meeting.m4a",
    state=ObjectState.DONE,
    etag="9b2cf535f27731c974343645a3985328",
    size_bytes=54_213,
    last_modified=_CREATED,
    versions=[
        VersionView(
            job_id=_JOB_ID,
            is_current=True,
            model="base",
            status=JobStatus.COMPLETED,
            etag="9b2cf535f27731c974343645a3985328",
            error=None,
            passed_on=True,
            words=5,
            created_at=_CREATED,
            completed_at=_CREATED + timedelta(seconds=6),
            url=f"/api/v1/tasks/{_JOB_ID}",
        )
    ],
    dagster_url="http://127.0.0.1:3000/assets/bucket_transcripts?view=partitions&partition=calls%2F2026%2Fmeeting.m4a",
)

_lost = PromotionFailure(
    key="2026/interview.wav",
    error=JobError(
        kind="bucket-not-found",
        message="There is no such bucket (copying stt/results/01a20493cee4dbe221a88909bc521cbf/1/transcript.json to "
        "texts/calls/2026/interview.wav.json).",
        mend="Create it, or correct its name in MINIO_BUCKET or BACKFILL_SOURCES.",
        occurred_at=_CREATED,
    ),
)

_ready = Ready(
    status="ready",
    dependencies={
        server: DependencyHealth(ok=True, latency_ms=latency)
        for server, latency in (("mongodb", 1.6), ("redis", 0.4), ("object_store", 3.1))
    },
)
_models = [Model(id=name, created=1_773_480_413) for name in ("whisper-1", "base")]

#: By the name of their schema.
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    type(shown[0]).__name__: [example.model_dump(mode="json") for example in shown]
    for shown in (
        [_queued, _completed],
        [_presigned],
        [_page],
        [ChunkList(job_id=_JOB_ID, chunks=[_chunk])],
        [ObjectList(objects=[_object], next_cursor="2026/meeting.m4a")],
        [Promotion(promoted=87, current=12, without=1, failed=[_lost], next_cursor="2026/meeting.m4a")],
        [_transcript],
        [verbose(_transcript)],
        [ModelList(data=_models)],
        [Whoami(name="reporter", scopes=[Scope.READ, Scope.WRITE], expires_at=_CREATED + timedelta(hours=12))],
        [Alive()],
        [_ready],
    )
}
#: The transcript as a file, by its extension.
FILES = {extension: render(_transcript, extension) for extension in FORMATS}
#: The last events of a job.
EVENTS = "".join(
    f"event: {name}\ndata: {data.model_dump_json()}\n\n"
    for name, data in (("progress", _completed.progress), ("text", _heard), ("end", _completed))
)
