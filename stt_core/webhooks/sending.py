"""Telling callers that their jobs have ended: at least once, in whatever process does it, whenever that dies.

A job that ends with a `callback_url` is marked in the same write (`callback_due`). Whoever finds the mark opens a
delivery, then takes the mark away. A delivery is claimed by the write that counts its try and sets the time of the
next; so one that was cut off is tried again then, under the same `webhook-id`.

    2xx     delivered
    410     the receiver wants no more: given up
    else    tried again after 5 s, 1 min, 5 min, 30 min, 2 h and 6 h; then given up

What is sent is read from the job at that moment. A job that was deleted, or sent again, has nothing to tell.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta

from stt_core.errors import ConflictError, JobNotFoundError
from stt_core.jobs.job import JobModel, JobUpdate
from stt_core.logs import get_logger, log_context
from stt_core.services import Services
from stt_core.stores.documents import utc_now
from stt_core.webhooks.deliveries import Deliveries, Delivery, DeliveryStatus, Try
from stt_core.webhooks.posting import post

logger = get_logger(__name__)

#: How long to wait after each failed try but the last, seconds.
BACKOFF_SECONDS = (5, 60, 300, 1800, 7200, 21_600)
#: A receiver that is gone for good.
_GONE = 410
#: Requests at once, and of these to one receiver: a slow one takes its share, no more.
_AT_ONCE = 32
_AT_ONCE_PER_RECEIVER = 8
#: When no further requests are begun, seconds; those under way go on for their 5 s.
_BUDGET_SECONDS = 3.0


def send_due_webhooks(services: Services) -> Counter[str]:
    """Send what is due, for a few seconds; return how many deliveries went how (`delivered`, `pending`, `dead`).

    Raises:
        TransientError: MongoDB is away; the next call goes on.
    """
    deliveries, outcomes = Deliveries(services.database), Counter[str]()
    if services.settings.webhook_secret is None:
        return outcomes
    for job in services.jobs.find_jobs_to_tell():
        deliveries.open(job)
        services.jobs.modify_job(job.job_id, lambda now, told=job.attempt: _told(now, told))  # type: ignore[misc]
    started = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook") as threads:
        while time.monotonic() - started < _BUDGET_SECONDS and (due := _share(deliveries.find_due())):
            sent = [threads.submit(copy_context().run, _deliver, services, deliveries, one) for one in due]
            outcomes.update(status for future in sent if (status := future.result()))
    return outcomes


def _told(job: JobModel, attempt: int) -> JobUpdate | None:
    """Take the mark away, unless the job has ended once more."""
    return JobUpdate(callback_due=False) if job.callback_due and job.attempt == attempt else None


def _share(due: Iterable[Delivery]) -> list[Delivery]:
    """Return what is sent together: no receiver gets more than its share."""
    chosen: list[Delivery] = []
    of_receiver: Counter[str] = Counter()
    for delivery in due:
        if of_receiver[delivery.receiver] < _AT_ONCE_PER_RECEIVER:
            of_receiver[delivery.receiver] += 1
            chosen.append(delivery)
        if len(chosen) == _AT_ONCE:
            break
    return chosen


def _deliver(services: Services, deliveries: Deliveries, delivery: Delivery) -> DeliveryStatus | None:
    """Try once; return where the delivery stands, None where somebody else has it or there is nothing to tell."""
    with log_context(job_id=delivery.job_id):
        try:
            job = services.jobs.get_job(delivery.job_id)
            if job.attempt == delivery.attempt and job.status.is_final and job.callback_url:
                return _try(services, deliveries, delivery, job, job.callback_url)
            logger.info("a webhook has nothing to tell any more: the job was sent again")
        except JobNotFoundError as error:
            logger.info("a webhook has nothing to tell any more: {}", error)
        except ConflictError as error:
            logger.info("somebody else has the delivery: {}", error)
            return None
        deliveries.remove(delivery)
        return None


def _try(services: Services, deliveries: Deliveries, delivery: Delivery, job: JobModel, url: str) -> DeliveryStatus:
    tries = len(delivery.tries)
    if tries > len(BACKOFF_SECONDS):  # the last one was cut off
        return deliveries.update(delivery, status=DeliveryStatus.DEAD).status
    wait = timedelta(seconds=BACKOFF_SECONDS[min(tries, len(BACKOFF_SECONDS) - 1)])
    claimed = deliveries.update(delivery, tries=[*delivery.tries, Try()], due_at=utc_now() + wait)

    outcome = post(url, delivery.message_id, _message(services, job), services.settings)

    if outcome.status_code is not None and 200 <= outcome.status_code < 300:
        status = DeliveryStatus.DELIVERED
    elif outcome.status_code == _GONE or tries == len(BACKOFF_SECONDS):
        status = DeliveryStatus.DEAD
    else:
        status = DeliveryStatus.PENDING
    level = "INFO" if status is DeliveryStatus.DELIVERED else "WARNING"
    logger.log(level, "webhook {} to {}: {}", delivery.message_id, delivery.receiver, status)
    return deliveries.update(claimed, tries=[*delivery.tries, outcome], status=status).status


def _message(services: Services, job: JobModel) -> bytes:
    """Return the body: the job as its owner sees it, without any of its text."""
    view = services.tasks.view(job)
    message = {
        "type": f"job.{job.status.value}",
        "timestamp": (job.completed_at or job.updated_at).isoformat(),
        "data": view.model_dump(mode="json", exclude={"result": {"text_preview"}}),
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
