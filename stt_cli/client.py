"""The REST API as the command line sees it. Refusals are problem documents (RFC 9457): what is wrong, how to mend."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, BinaryIO, Self, TypeVar
from urllib.parse import quote

import httpx
import typer
from pydantic import BaseModel, SecretStr, ValidationError

from stt_core.backfill.promoting import Promotion
from stt_core.backfill.views import ObjectList, ObjectView
from stt_core.errors import InvalidInputError, PermanentError, ResultNotReadyError, TransientError
from stt_core.jobs.job import JOB_ID_PATTERN, JobView
from stt_core.logs import get_logger
from stt_core.settings import load_settings
from stt_core.tasks.views import JobList
from stt_core.transcript.document import Transcript
from stt_core.whisper.catalog import HOSTED

logger = get_logger(__name__)

ApiUrl = Annotated[
    str | None, typer.Option("--api-url", help="Address of the API; by default STT_API_URL or this machine.")
]
Answer = TypeVar("Answer", bound=BaseModel)
Page = TypeVar("Page", ObjectList, Promotion)

_TASKS, _BACKFILL = "/api/v1/tasks", "/api/v1/backfill"
#: No answer for so long means that something is wrong; an upload may be silent for minutes while it is stored.
_TIMEOUT = httpx.Timeout(30.0, read=600.0, write=600.0)

#: Jobs that are named where what was given for one is the beginning of several ids.
_CANDIDATES = 5
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
        timeout: How long to wait for an answer.

    Raises:
        InvalidInputError: That is no address.
    """

    def __init__(self, url: str, key: SecretStr | None = None, timeout: httpx.Timeout = _TIMEOUT) -> None:
        self._url = url.rstrip("/")
        #: Whether it is on this machine, as that of a local stack is.
        self.is_local = _host(self._url) in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=self._url,
            timeout=timeout,
            trust_env=not self.is_local,  # no proxy of the environment leads back to this machine
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

    def find_job(self, named: str) -> str:
        """Return the id of a job that is named by its id, by a beginning that only its id has, or as `last`.

        Raises:
            ApiUnreachableError: The API does not answer.
            InvalidInputError: No job is named so, or several are.
        """
        if re.fullmatch(JOB_ID_PATTERN, named):
            return named
        if named == "last":
            found = self.jobs(limit=1).tasks
            if not found:
                raise InvalidInputError("There is no job yet.", mend="`stt transcribe` makes one.")
        elif re.fullmatch(r"[0-9a-f]{1,31}", named):
            # Ids are the order of the list: those that begin so stand together, right after the highest there could be.
            page = self.jobs(cursor=named.ljust(32, "f"), limit=_CANDIDATES + 1)
            found = [job for job in page.tasks if job.job_id.startswith(named)]
        else:
            raise _no_job_id(named)
        if not found:
            raise InvalidInputError(
                f"No job has an id that begins with {named}.", mend="`stt list` shows what there is."
            )
        if len(found) > 1:
            names = ", ".join(f"{job.job_id} ({job.filename})" for job in found[:_CANDIDATES])
            more = ", …" if len(found) > _CANDIDATES else ""
            raise InvalidInputError(
                f"The ids of several jobs begin with {named}: {names}{more}.",
                mend="Give more digits of the one you mean.",
            )
        return found[0].job_id

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
        try:
            return self._ask("GET", f"{_path(job_id)}/result", Transcript)
        except ApiRefusedError as error:
            if error.details.get("code") != ResultNotReadyError.kind:
                raise
            raise ApiRefusedError(error.message, mend=f"`stt status {job_id}` shows how far it is.") from error

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

    def has_model(self, name: str | None) -> bool:
        """Return whether a model is there; None is the API's own `WHISPER_MODEL`.

        Raises:
            ApiUnreachableError: The API does not answer.
        """
        try:
            self._send("GET", f"/v1/models/{quote(name or HOSTED[0], safe='')}")
        except ApiRefusedError as error:
            logger.debug("the model is not told of: {}", error)
            return error.details.get("code") != "model_not_found"  # of any other refusal the upload tells more
        return True

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
            for _ in range(_WAITS):
                if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    break
                time.sleep(min(int(response.headers.get("Retry-After", 1)), 60))
                response = self._http.request(method, path, **content)
        except httpx.LocalProtocolError as error:  # more or less came than the file held when it was opened
            raise InvalidInputError(
                "The recording changed while it was uploaded.", mend="Send it again once nothing writes to it."
            ) from error
        except httpx.HTTPError as error:
            raise ApiUnreachableError(
                f"The API at {self._url} does not answer ({str(error) or type(error).__name__}).",
                mend="Start it with `stt up`, or give its address with --api-url or STT_API_URL."
                if self.is_local
                else "Look at the network, at that address (--api-url, STT_API_URL), and whether it runs there.",
            ) from error
        if not response.is_success:
            raise _refusal(response)
        return response


def open_api(url: str | None, timeout: float | None = None) -> ApiClient:
    """Return a client with the key of the settings, of the API at `url` or at their address.

    Raises:
        ConfigurationError: A setting is missing or wrong.
        InvalidInputError: That is no address.
    """
    settings = load_settings()
    limits = _TIMEOUT if timeout is None else httpx.Timeout(timeout)
    return ApiClient(url or settings.api_url, settings.stt_api_key, limits)


def _pages(ask: Callable[[dict[str, str]], Page]) -> Iterator[Page]:
    cursor: str | None = ""
    while cursor is not None:
        page = ask({"cursor": cursor})
        yield page
        cursor = page.next_cursor


def _path(job_id: str) -> str:
    if not re.fullmatch(JOB_ID_PATTERN, job_id):  # what else it is could lead to another address
        raise _no_job_id(job_id)
    return f"{_TASKS}/{job_id}"


def _no_job_id(named: str) -> InvalidInputError:
    return InvalidInputError(
        f"{named[:100]!r} is no job id.",
        mend="Give the 32 hexadecimal digits that the upload answered with, the first of them, or `last`.",
    )


def _host(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        logger.debug("no address: {}", error)
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInputError(
            f"{url[:100]!r} is no address of an API.",
            mend="Give one such as http://127.0.0.1:8000 (--api-url, STT_API_URL).",
        )
    return parsed.host


def _refusal(response: httpx.Response) -> ApiRefusedError | ApiUnreachableError:
    is_away = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
    try:
        problem = response.json()
        kind = ApiUnreachableError if is_away else ApiRefusedError
        if told := problem.get("error"):  # in OpenAI's form
            return kind(str(told["message"]), code=told["code"])
        code = str(problem.get("type")).rpartition(":")[2]
        return kind(str(problem["detail"]), mend=problem.get("mend"), code=code)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.debug("no problem document: {}", error)
        return ApiRefusedError(
            f"{response.request.url} answers {response.status_code} {response.reason_phrase}.",
            mend="Check the address of the API (--api-url, STT_API_URL).",
        )
