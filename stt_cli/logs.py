"""`stt logs`: every line of one job, whichever part of the stack wrote it."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from stt_cli.client import ApiUrl, open_api
from stt_cli.console import write_result
from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.log_file import lines_of_job
from stt_cli.tasks import JobId
from stt_core.errors import InvalidInputError
from stt_core.jobs.job import JOB_ID_PATTERN
from stt_core.logs import get_logger
from stt_core.settings import load_settings

logger = get_logger(__name__)


def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with the lines to come, until Ctrl-C.")] = False,
    api_url: ApiUrl = None,
) -> None:
    """Show every line of the local stack's log that tells of a job: of the API, the sensors, its runs, its webhook."""
    if not re.fullmatch(JOB_ID_PATTERN, job_id):  # a whole id is enough, also where the API is down
        with open_api(api_url) as api:
            job_id = api.find_job(job_id)
    log = StackHome.at(load_settings().stt_home).log_file
    if not log.exists():
        raise InvalidInputError(
            f"There is no log of a local stack at {log}.",
            mend="`stt up` writes it in its STT_HOME. Parts that run elsewhere have logs of their own: "
            f"`docker compose logs | grep {job_id}`.",
        )
    is_known = False
    try:
        for line in lines_of_job(log, job_id, follow=follow):
            write_result(f"{line}\n")
            is_known = True
    except KeyboardInterrupt:
        logger.debug("followed no further")
        return
    if not is_known:
        raise InvalidInputError(
            f"No line in {log} tells of job {job_id}.", mend="Its log is gone, or it is a job of another stack."
        )
