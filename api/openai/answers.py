"""Answers that wait: they are begun when the upload is over, so that waiting holds none of its places."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.openai.errors import job_error
from api.openai.following import FollowedJob
from api.openai.schemas import ResponseFormat, Transcription, Usage
from stt_core.errors import SttError
from stt_core.logs import get_logger, log_context
from stt_core.transcript.document import Transcript
from stt_core.transcript.formats import CONTENT_TYPES, render
from stt_core.transcript.verbose import verbose

logger = get_logger(__name__)


def transcript_response(
    transcript: Transcript, form: ResponseFormat, granularities: Collection[str], headers: dict[str, str]
) -> Response:
    """Return the answer that holds a transcript; of `verbose_json` with the times of what is named."""
    extension = {"text": "txt", "verbose_json": "json"}.get(form, form)
    if form == "json":
        answer = Transcription(text=transcript.text, usage=Usage(seconds=transcript.duration_seconds))
        body = answer.model_dump_json()
    elif form == "verbose_json":
        timed = verbose(transcript, segments="segment" in granularities, words="word" in granularities)
        body = timed.model_dump_json(exclude_none=True)
    elif form == "text":
        body = transcript.text + "\n"  # on one line, as OpenAI's
    else:
        body = render(transcript, extension)
    return Response(body, headers={**headers, "Content-Type": CONTENT_TYPES[extension]})


class AnswerWhenDone(Response):
    """The transcript of a job, or why there is none, once the job has ended."""

    def __init__(self, job: FollowedJob, form: ResponseFormat, granularities: Collection[str]) -> None:
        super().__init__()
        self._job = job
        self._form = form
        self._granularities = granularities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, and answer."""
        with log_context(job_id=self._job.job_id):
            try:
                transcript = await self._job.transcript()
            except SttError as error:
                logger.warning("answered with an error: {}", error)
                status, body = job_error(error)
                answer: Response = JSONResponse(body.model_dump(), status, self._job.headers)
            else:
                answer = transcript_response(transcript, self._form, self._granularities, self._job.headers)
            await answer(scope, receive, send)


class EventsUntilDone(StreamingResponse):
    """The text of a job as server-sent events, while it is heard."""

    def __init__(self, job: FollowedJob) -> None:
        super().__init__(self._lines(), media_type="text/event-stream", headers=job.headers)
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events. Who follows the job looks for itself whether the client is still there."""
        with log_context(job_id=self._job.job_id):
            await self.stream_response(send)

    async def _lines(self) -> AsyncIterator[str]:
        try:
            async for event in self._job.events():
                # A comment keeps the connection from looking dead to whoever is between.
                yield f"data: {event.model_dump_json()}\n\n" if event else ": at work\n\n"
        except SttError as error:
            logger.warning("the stream ends in an error: {}", error)
            yield f"data: {job_error(error)[1].model_dump_json()}\n\n"
        except ClientDisconnect:  # too late for another answer, and nobody is there for it
            logger.info("the stream is followed no further: the client went away")
