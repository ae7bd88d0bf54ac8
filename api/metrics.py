"""What `/metrics` tells Prometheus.

Figures of the system come from MongoDB and Redis when they are asked for, at most every `FRESH_SECONDS`, so that they
are the same from whichever process of the API answers. Only those of this process (its requests, its memory) are
counted here; run one process an address, as we do, or scrape each by itself. What cannot be had now, because a server
is away, is left out: `stt_server_up` says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stt_core.errors import SttError
from stt_core.jobs.job import JobStatus
from stt_core.logs import get_logger
from stt_core.metrics import BOUNDS, Spread, Tally, count_by_status, measure_backlog
from stt_core.services import Services

logger = get_logger(__name__)

#: Scrapers ask about as often, each by itself. At 100 000 jobs in the embedded MongoDB, 1000 of them waiting, it takes
#: 0.6 s to ask; most of that is for those that wait.
FRESH_SECONDS = 15.0
#: What a second of a recording of unknown length is taken to weigh, bytes: 128 kbit/s, the usual of compressed sound.
BYTES_PER_SECOND = 16_000

HTTP_SECONDS = Histogram(
    "stt_http_request_seconds",
    "Seconds from a request to the end of its answer, in this process of the API.",
    ["operation", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)

_TALLIES = {
    Tally.UPLOADS: "Recordings that were accepted, each once.",
    Tally.UPLOAD_BYTES: "Bytes of the recordings that were accepted.",
    Tally.CHUNK_FAILURES: "Times a chunk failed by itself on every try of its step.",
    Tally.ENGINE_RESTARTS: "Engine processes that died, hung or left nothing usable, so that another had to follow.",
}
_SPREADS = {
    Spread.WAIT_SECONDS: "Seconds that completed jobs waited, from joining the queue to their last run's beginning.",
    Spread.PROCESSING_SECONDS: "Seconds that the last runs of completed jobs took.",
    Spread.REAL_TIME_FACTOR: "Seconds of processing for a second of audio, of completed jobs.",
}


class SystemMetrics(Collector):
    """The figures of the system, as they were at most `FRESH_SECONDS` ago."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._turn = threading.Lock()
        self._metrics: list[Metric] = []
        self._old_at = 0.0

    def collect(self) -> Iterable[Metric]:
        """Return every figure that can be had."""
        with self._turn:
            if time.monotonic() >= self._old_at:
                self._metrics = list(self._ask())
                self._old_at = time.monotonic() + FRESH_SECONDS
            return self._metrics

    def _ask(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("stt_server_up", "Whether a server behind the API answers.", labels=["server"])
        sources: dict[str, Callable[[], list[Metric]]] = {"mongodb": self._of_mongodb, "redis": self._of_redis}
        for server, source in sources.items():
            try:
                yield from source()
                up.add_metric([server], 1)
            except SttError as error:
                logger.warning("metrics of {} are left out: {}", server, error)
                up.add_metric([server], 0)
        yield up

    def _of_mongodb(self) -> list[Metric]:
        jobs = GaugeMetricFamily("stt_jobs", "Jobs there are, by their status.", labels=["status"])
        counted = count_by_status(self._services.database)
        for status in JobStatus:
            jobs.add_metric([status.value], counted.get(status, 0))
        seconds = GaugeMetricFamily(
            "stt_queue_audio_seconds",
            "Audio of the jobs that wait, seconds: `measured` where an earlier attempt measured the recording; "
            f"`estimated` by its size, as if {BYTES_PER_SECOND * 8 // 1000} kbit/s, which a WAV exceeds several times.",
            labels=["basis"],
        )
        backlog = measure_backlog(self._services.database)
        seconds.add_metric(["measured"], backlog.measured_seconds)
        seconds.add_metric(["estimated"], backlog.unmeasured_bytes / BYTES_PER_SECOND)
        counts, spreads, warned = self._services.tallies.read()
        totals = [CounterMetricFamily(f"stt_{tally}", text, value=counts[tally]) for tally, text in _TALLIES.items()]
        histograms = [
            HistogramMetricFamily(
                f"stt_job_{spread}",
                text,
                buckets=list(
                    zip([*map(str, map(float, BOUNDS[spread])), "+Inf"], accumulate(values.counts), strict=True)
                ),
                sum_value=values.total,
            )
            for spread, text in _SPREADS.items()
            for values in [spreads[spread]]
        ]
        warnings = CounterMetricFamily(
            "stt_transcript_warnings", "Warnings that transcripts were given, by their name.", labels=["name"]
        )
        for name, count in warned.items():
            warnings.add_metric([name.value], count)
        return [jobs, seconds, *totals, warnings, *histograms]

    def _of_redis(self) -> list[Metric]:
        waiting = GaugeMetricFamily("stt_queue_jobs", "Jobs that wait in the queue.", labels=["priority"])
        for priority, jobs in self._services.queue.statistics().items():
            waiting.add_metric([priority.value], jobs)
        return [waiting]
