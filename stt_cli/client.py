"""The REST API as the command line sees it. Refusals are problem documents (RFC 9457): what is wrong, how to mend."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Self, TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from stt_core.backfill.promoting import Promotion
from stt_core.backfill.views import ObjectList, ObjectView
from stt_core.errors import InvalidInputError, PermanentError, TransientError
from stt_core.jobs.job import JOB_ID_PATTERN, JobView
from stt_core.logs import get_logger
from stt_core.settings import load_settings
from stt_core.tasks.views import JobList
from stt_core.transcript.document import Transcript
from stt_core.whisper.catalog import HOSTED

logger = get_logger(__name__)

Answer = TypeVar("Answer", bound=BaseModel)
Page = TypeVar("Page", ObjectList, Promotion)

_TASKS, _BACKFILL = "/api/v1/tasks", "/api/v1/backfill"
#: No answer for so long means that something is wrong; an upload may be silent for minutes while it is stored.
_TIMEOUT = httpx.Timeout(30.0, read=600.0, write=600.0)

#: Objects asked for at once: as many as the API gives.
_OBJECTS = 500
#: How often a question waits as long as the API says, where the key has asked too often.
_WAITS = 5


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class ApiUnreachableError(TransientError):
    """The API does not answer, or a server that it needs is away."""

    kind = "api-unreachable"
    expected = True


class ApiRefusedError(PermanentError):
    """The API answered with a problem."""

    kind = "api-refused"
    expected = True


class ApiClient:
    """A client of one API.

    Args:
        url: Its address, such as http://127.0.0.1:8000.
        key: The key to send; `STT_API_KEY`.
    """

    def __init__(self, url: str, key: SecretStr | None = None) -> None:
        self._url = url.rstrip("/")
        # Not through the proxies of the environment: the API of a local stack is on this machine.
        local = httpx.URL(self._url).host in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=self._url,
            timeout=_TIMEOUT,
            trust_env=not local,
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else None,
        )

    def upload(self, file: BinaryIO, filename: str, **fields: str | float | None) -> JobView:
        """Upload a recording; it is streamed.

        Args:
            file: The recording, open for reading.
            filename: Its name, for people.
            fields: Those of the upload form beside the file; the API's defaults where None.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: It does not want the recording; says why.
        """
        data = {name: value for name, value in fields.items() if value is not None}
        return self._ask("POST", f"{_TASKS}/upload", JobView, files={"file": (filename, file)}, data=data)

    def job(self, job_id: str) -> JobView:
        """Return a job as it stands.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: There is no such job.
        """
        return self._ask("GET", _path(job_id), JobView)

    def transcript(self, job_id: str) -> Transcript:
        """Return the transcript of a completed job.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: There is no such job, or it has no transcript (yet).
        """
        return self._ask("GET", f"{_path(job_id)}/result", Transcript)

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job and return it.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: There is no such job, or it ended before.
        """
        return self._ask("POST", f"{_path(job_id)}/cancel", JobView)

    def retry(self, job_id: str) -> JobView:
        """Send a failed job again and return it.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: There is no such job, it did not fail, or its recording is gone.
        """
        return self._ask("POST", f"{_path(job_id)}/retry", JobView)

    def jobs(self, *, status: str | None = None, limit: int = 20, cursor: str | None = None) -> JobList:
        """Return a page of jobs, newest first.

        Args:
            status: Only those in this state.
            limit: Jobs on a page, at most.
            cursor: `next_cursor` of the page before.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: It does not know such a cursor.
        """
        asked = {"status": status, "limit": limit, "cursor": cursor}
        params = {name: value for name, value in asked.items() if value is not None}
        return self._ask("GET", _TASKS, JobList, params=params)

    def delete(self, job_id: str) -> None:
        """Delete a job with all that belongs to it.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: There is no such job, or it was deleted before.
        """
        self._send("DELETE", _path(job_id))

    def objects(self, *, bucket: str, prefix: str) -> Iterator[ObjectView]:
        """Yield the objects of a bucket that backfills transcribe, in the order of their keys.

        Args:
            bucket: One that `BACKFILL_SOURCES` names.
            prefix: What their keys begin with.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: No source is in that bucket.
        """
        asked = {"bucket": bucket, "prefix": prefix, "limit": _OBJECTS}
        for page in _pages(lambda cursor: self._ask("GET", f"{_BACKFILL}/objects", ObjectList, params=asked | cursor)):
            yield from page.objects

    def promote(self, *, bucket: str, prefix: str, model: str) -> Iterator[Promotion]:
        """Make the transcripts of a model the current ones, page by page, and yield what became of each page.

        Args:
            bucket: One that `BACKFILL_SOURCES` names.
            prefix: What the keys of the objects begin with.
            model: Whose transcripts.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: No source is in that bucket.
        """
        asked = {"bucket": bucket, "prefix": prefix, "model": model}
        return _pages(lambda cursor: self._ask("POST", f"{_BACKFILL}/promote", Promotion, json=asked | cursor))

    def models(self) -> set[str]:
        """Return the names of the models that are there.

        Raises:
            ApiUnreachableError: The API does not answer.
            ApiRefusedError: The key may not ask.
        """
        return {model.id for model in self._ask("GET", "/v1/models", _Models).data} - set(HOSTED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, answer: type[Answer], **content: Any) -> Answer:
        response = self._send(method, path, **content)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise ApiRefusedError(f"{self._url} answers, but not as this API does.", mend="Check --api-url.") from error

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **content)
            for _ in range(_WAITS if method == "GET" else 0):
                if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    break
                time.sleep(min(int(response.headers.get("Retry-After", 1)), 60))
                response = self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            raise ApiUnreachableError(
                f"The API at {self._url} does not answer ({str(error) or type(error).__name__}).",
                mend="Start it with `stt up`, or give its address with --api-url or STT_API_URL.",
            ) from error
        if not response.is_success:
            raise _refusal(response)
        return response


def open_api(url: str | None) -> ApiClient:
    """Return a client with the key of the settings, of the API at `url` or at their address.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """
    settings = load_settings()
    return ApiClient(url or settings.api_url, settings.stt_api_key)


def _pages(ask: Callable[[dict[str, str]], Page]) -> Iterator[Page]:
    cursor: str | None = ""
    while cursor is not None:
        page = ask({"cursor": cursor})
        yield page
        cursor = page.next_cursor


def _path(job_id: str) -> str:
    if not re.fullmatch(JOB_ID_PATTERN, job_id):  # what else it is could lead to another address
        raise InvalidInputError(
            f"{job_id[:100]!r} is no job id.", mend="Give the 32 hexadecimal digits that the upload answered with."
        )
    return f"{_TASKS}/{job_id}"


def _refusal(response: httpx.Response) -> ApiRefusedError | ApiUnreachableError:
    is_away = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
    try:
        problem = response.json()
        return (ApiUnreachableError if is_away else ApiRefusedError)(str(problem["detail"]), mend=problem.get("mend"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.debug("no problem document: {}", error)
        return ApiRefusedError(
            f"{response.request.url} answers {response.status_code} {response.reason_phrase}.",
            mend="Check the address of the API (--api-url, STT_API_URL).",
        )
