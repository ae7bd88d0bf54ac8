"""Callers are told that their jobs ended, by real requests to a receiver that verifies them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from stt_core.jobs.job import JobError, JobResult, JobStatus, JobUpdate
from stt_core.services import Services
from stt_core.stores.documents import utc_now
from stt_core.webhooks import posting, sending
from stt_core.webhooks.deliveries import Deliveries, Delivery, DeliveryStatus
from stt_core.webhooks.sending import BACKOFF_SECONDS, send_due_webhooks
from tests.core.webhooks.conftest import Receiver, create_job, ended_job

Later = Callable[[float], None]


@pytest.fixture
def later(services: Services) -> Later:
    """Let time pass for the deliveries: what is due then is due now."""

    def later(seconds: float) -> None:
        for document in list(services.database.deliveries.find()):
            document["due_at"] -= timedelta(seconds=seconds)
            services.database.deliveries.replace_one({"_id": document["_id"]}, document)

    return later


def delivery_of(services: Services, job_id: str) -> Delivery:
    delivery = Deliveries(services.database).get(job_id)
    assert delivery is not None
    return delivery


def test_webhook_when_a_job_completed_then_is_signed_and_tells_of_it_without_its_text(
    services: Services, receiver: Receiver
) -> None:
    job = create_job(services, receiver.url)
    for status in (JobStatus.QUEUED, JobStatus.PROCESSING):
        job = services.jobs.update_job(job, JobUpdate(status=status, attempt=1))
    result = JobResult(
        prefix="results/x/1/", formats=["json"], language="en", duration_seconds=1, words=1, segments=1,
        text_preview="secret words",
    )  # fmt: skip
    ended_at = utc_now()
    job = services.jobs.update_job(job, JobUpdate(status=JobStatus.COMPLETED, result=result, completed_at=ended_at))

    assert send_due_webhooks(services) == {"delivered": 1}

    [message] = receiver.messages
    assert (message["type"], message["timestamp"]) == ("job.completed", ended_at.isoformat())
    assert (message["data"]["job_id"], message["data"]["result"]["words"]) == (job.job_id, 1)
    assert message["data"]["metadata"] == {"order": 7}
    assert "secret" not in str(message)
    assert receiver.ids == [f"msg_{job.job_id}_1"]
    delivery = delivery_of(services, job.job_id)
    assert (delivery.status, [one.status_code for one in delivery.tries]) == (DeliveryStatus.DELIVERED, [204])
    assert send_due_webhooks(services) == {}
    assert len(receiver.messages) == 1


def test_webhook_when_nobody_asked_for_it_or_the_job_goes_on_then_nothing_is_sent(
    services: Services, receiver: Receiver
) -> None:
    ended_job(services, None)
    create_job(services, receiver.url)
    assert send_due_webhooks(services) == {}
    assert receiver.messages == []


def test_webhook_when_there_is_no_secret_then_waits_for_one(services: Services, receiver: Receiver) -> None:
    ended_job(services, receiver.url)
    without = replace(services, settings=services.settings.model_copy(update={"webhook_secret": None}))
    assert send_due_webhooks(without) == {}
    assert send_due_webhooks(services) == {"delivered": 1}


def test_webhook_when_the_receiver_fails_then_is_tried_again_after_each_wait_and_given_up(
    services: Services, receiver: Receiver, later: Later
) -> None:
    receiver.statuses = [500, 404, 302]
    receiver.headers = {"Location": receiver.url}
    job = ended_job(services, receiver.url)
    for wait in BACKOFF_SECONDS:
        assert send_due_webhooks(services) == {"pending": 1}
        left = (delivery_of(services, job.job_id).due_at - utc_now()).total_seconds()
        assert wait - 4 < left <= wait  # the machine may be busy
        assert send_due_webhooks(services) == {}
        later(wait)
    assert send_due_webhooks(services) == {"dead": 1}
    later(10 * BACKOFF_SECONDS[-1])
    assert send_due_webhooks(services) == {}

    tries = delivery_of(services, job.job_id).tries
    assert [one.status_code for one in tries] == [500, 404, 302, 302, 302, 302, 302]
    assert len(set(receiver.ids)) == 1
    assert {message["type"] for message in receiver.messages} == {"job.cancelled"}  # no redirect was followed


def test_webhook_when_the_receiver_recovers_then_is_delivered(
    services: Services, receiver: Receiver, later: Later
) -> None:
    receiver.statuses = [503, 200]
    ended_job(services, receiver.url)
    assert send_due_webhooks(services) == {"pending": 1}
    later(BACKOFF_SECONDS[0])
    assert send_due_webhooks(services) == {"delivered": 1}


def test_webhook_when_the_receiver_is_gone_then_is_given_up_at_once(services: Services, receiver: Receiver) -> None:
    receiver.statuses = [410]
    job = ended_job(services, receiver.url)
    assert send_due_webhooks(services) == {"dead": 1}
    assert len(delivery_of(services, job.job_id).tries) == 1


def test_webhook_when_nobody_listens_then_says_so(services: Services, receiver: Receiver) -> None:
    with Receiver() as closed:
        pass
    job = ended_job(services, closed.url)
    assert send_due_webhooks(services) == {"pending": 1}
    [only] = delivery_of(services, job.job_id).tries
    assert only.status_code is None and only.error


def test_webhook_when_the_address_is_not_public_then_no_request_is_made(services: Services, receiver: Receiver) -> None:
    strict = replace(services, settings=services.settings.model_copy(update={"webhook_allow": ()}))
    job = ended_job(strict, receiver.url)
    assert send_due_webhooks(strict) == {"pending": 1}
    assert receiver.messages == []
    [only] = delivery_of(services, job.job_id).tries
    assert only.error == "The host 127.0.0.1 is not at a public address."


def test_webhook_when_one_receiver_is_slow_then_others_are_told_meanwhile(
    services: Services, receiver: Receiver, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_core.webhooks.posting.TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(sending, "_AT_ONCE_PER_RECEIVER", 2)
    receiver.open.clear()
    slow = [ended_job(services, receiver.url) for _ in range(4)]
    with Receiver() as other:
        ended_job(services, other.url)
        started = time.monotonic()
        outcomes = send_due_webhooks(services)
        assert time.monotonic() - started < 2 * 1.0 + 2
        assert other.messages
    assert outcomes == {"delivered": 1, "pending": 4}
    assert {one.error for job in slow for one in delivery_of(services, job.job_id).tries} == {"No answer within 1 s."}


def test_webhook_when_its_process_died_before_the_answer_was_written_then_is_sent_again_under_the_same_id(
    services: Services, receiver: Receiver, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ended_job(services, receiver.url)
    post = posting.post

    def post_and_die(*arguments: object) -> object:
        post(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sending, "post", post_and_die)
        send_due_webhooks(services)

    assert send_due_webhooks(services) == {}  # it may still be under way
    later(BACKOFF_SECONDS[0])
    assert send_due_webhooks(services) == {"delivered": 1}
    assert receiver.ids == [f"msg_{job.job_id}_0"] * 2
    assert [one.status_code for one in delivery_of(services, job.job_id).tries] == [None, 204]


def test_webhook_when_its_process_died_between_mark_and_delivery_then_is_sent_once(
    services: Services, receiver: Receiver
) -> None:
    job = ended_job(services, receiver.url)
    Deliveries(services.database).open(services.jobs.get_job(job.job_id))  # and the mark is still there
    assert send_due_webhooks(services) == {"delivered": 1}
    assert services.jobs.find_jobs_to_tell() == []


def test_webhook_when_the_job_is_sent_again_then_tells_of_its_next_end_instead(
    services: Services, receiver: Receiver, later: Later
) -> None:
    receiver.statuses = [500, 200]
    job = create_job(services, receiver.url)
    error = JobError(kind="engine-failed", message="It crashed.")
    job = services.jobs.update_job(job, JobUpdate(status=JobStatus.FAILED, error=error, completed_at=utc_now()))
    assert send_due_webhooks(services) == {"pending": 1}
    job = services.jobs.get_job(job.job_id)
    job = services.jobs.update_job(job, JobUpdate(status=JobStatus.QUEUED, attempt=2, error=None))
    later(BACKOFF_SECONDS[0])
    assert send_due_webhooks(services) == {}

    services.jobs.update_job(job, JobUpdate(status=JobStatus.CANCELLED, completed_at=utc_now()))
    assert send_due_webhooks(services) == {"delivered": 1}
    assert [message["type"] for message in receiver.messages] == ["job.failed", "job.cancelled"]
    assert receiver.ids == [f"msg_{job.job_id}_{attempt}" for attempt in (0, 2)]


def test_webhook_when_a_told_job_is_sent_again_then_its_next_end_is_told_too(
    services: Services, receiver: Receiver
) -> None:
    job = create_job(services, receiver.url)
    for attempt in (1, 2):
        job = services.jobs.update_job(job, JobUpdate(status=JobStatus.QUEUED, attempt=attempt))
        job = services.jobs.update_job(job, JobUpdate(status=JobStatus.FAILED, completed_at=utc_now()))
        assert send_due_webhooks(services) == {"delivered": 1}
        job = services.jobs.get_job(job.job_id)
    assert receiver.ids == [f"msg_{job.job_id}_{attempt}" for attempt in (1, 2)]


def test_webhook_when_the_job_was_deleted_then_nothing_is_sent(
    services: Services, receiver: Receiver, later: Later
) -> None:
    receiver.statuses = [500]
    pending, marked, buried = (ended_job(services, receiver.url) for _ in range(3))
    services.jobs.delete_job(marked.job_id)
    services.jobs.bury_job(buried, utc_now())
    assert send_due_webhooks(services) == {"pending": 1}
    services.jobs.delete_job(pending.job_id)
    later(BACKOFF_SECONDS[0])
    assert send_due_webhooks(services) == {}
    assert services.database.deliveries.count_documents({}) == 0


def test_webhook_when_a_told_job_is_deleted_then_nothing_is_left_of_it(services: Services, receiver: Receiver) -> None:
    job = ended_job(services, receiver.url)
    assert send_due_webhooks(services) == {"delivered": 1}
    services.jobs.bury_job(services.jobs.get_job(job.job_id), utc_now())
    assert services.database.deliveries.count_documents({}) == 0
