"""The discovery sensor: what the buckets of `BACKFILL_SOURCES` hold becomes partitions, page by page.

Dagster learns of a page first and MongoDB last: what the sensor died over, or could not write, is found again. Every
page names all partitions that are there, so that a Dagster whose storage was lost knows them all after one round.
"""

from __future__ import annotations

import time

from dagster import DagsterInstance, DefaultSensorStatus, SensorEvaluationContext, SkipReason, sensor

from stt_core.backfill.discovery import DiscoveredPage, Round, discover_next, record_page
from stt_core.logs import get_logger
from stt_core.settings import get_settings
from stt_dagster.partitions import BUCKET_OBJECTS, observe_object
from stt_dagster.resources import SttResource, open_instance
from stt_dagster.sensors import noting_outages

logger = get_logger(__name__)

#: How often a tick begins, seconds: how soon an object of a small bucket is a partition. Without sources there is only
#: a source to forget that was removed.
DISCOVERY_SECONDS = 10 if get_settings().backfill_sources else 3600
#: When a tick begins no more page, seconds; a page takes 0.3 to 1.5 s.
TICK_SECONDS = 4.0


@sensor(minimum_interval_seconds=DISCOVERY_SECONDS, default_status=DefaultSensorStatus.RUNNING)
def discovery_sensor(context: SensorEvaluationContext) -> SkipReason:
    """Register the recordings of the sources as partitions, and drop those that are gone."""
    services, instance = SttResource().services, open_instance(context)
    current = Round.model_validate_json(context.cursor or "{}")
    if current.rests:
        return SkipReason(f"{_describe(current)} The next begins after a rest as long.")
    deadline = time.monotonic() + TICK_SECONDS
    listed = new = changed = gone = 0
    with noting_outages("discovery") as outages:
        while True:
            page, current = discover_next(services, current)
            outages += [page.refusal] if page.refusal else []
            _tell(instance, page)
            record_page(services, page)
            context.update_cursor(current.model_dump_json())
            listed, new, changed = listed + page.listed, new + len(page.new), changed + len(page.changed)
            gone += len(page.vanished)
            if current.is_over or time.monotonic() > deadline:
                break
    found = f"{listed} objects listed: {new} new, {changed} changed, {gone} gone. {_describe(current)}"
    if new or changed or gone:
        logger.info("discovery: {}", found)
    return SkipReason(" ".join([*outages, found]))


def _tell(instance: DagsterInstance, page: DiscoveredPage) -> None:
    """Let Dagster know the partitions of a page, and which of them have other bytes than were seen before."""
    if page.present:
        instance.add_dynamic_partitions(str(BUCKET_OBJECTS.name), page.present)
    for change in page.changed:
        if change.concerns_transcript:
            instance.report_runless_asset_event(observe_object(change.known.partition, str(change.update.etag)))
    for partition in page.vanished:
        instance.delete_dynamic_partition(str(BUCKET_OBJECTS.name), partition)


def _describe(current: Round) -> str:
    """Return in words where the round stands, and how long the one before took."""
    if current.last_seconds is None:
        before = "The first round is under way." if current.source else "BACKFILL_SOURCES names no source."
    else:
        before = f"The last full round: {current.last_listed} objects in {current.last_seconds:.0f} s."
    return f"{before} Now at {current.source} after {current.after!r}." if current.source else before
