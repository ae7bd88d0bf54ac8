"""The engines of a recording load their model while it is prepared, which leaves cores idle: so they are ready at once.

Nothing depends on it. Where cores are at work for others, a model is loaded by the call that needs it; a failure to
load is reported by that call.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

from stt_core.errors import EngineStoppedError, SttError
from stt_core.jobs.claims import Claim
from stt_core.jobs.job import JobModel, Lane
from stt_core.logs import get_logger
from stt_core.processing.planning import parallel_steps
from stt_core.processing.texts import ChunkTexts
from stt_core.services import Services
from stt_core.whisper.models import resolve_model

logger = get_logger(__name__)


@contextmanager
def engines_loading(services: Services, claim: Claim) -> Iterator[None]:
    """Load an upload's model meanwhile, where its engines will look for it; wait for that at the end of the block."""
    job = claim.job()
    if job.lane is Lane.BACKFILL:  # whose engines are there from the object before, and which steps aside
        yield
        return
    parallel = parallel_steps(job, services.settings)
    with ThreadPoolExecutor(parallel, thread_name_prefix="load") as pool:
        for _ in range(parallel):
            pool.submit(copy_context().run, _load, services, claim, job, parallel)
        yield


def _load(services: Services, claim: Claim, job: JobModel, parallel: int) -> None:
    try:
        texts = ChunkTexts.open(services, [], resolve_model(job.options.model, services.settings), job)
        with texts.cores(parallel=parallel, should_stop=lambda: True) as cores:
            texts.transcriber.engine.load(threads=cores.count, slot=cores.slot, should_stop=claim.is_lost)
    except EngineStoppedError as stopped:
        logger.debug("the model is not loaded ahead: {}", stopped)
    except SttError as error:
        logger.warning("the model was not loaded ahead: {}", error)
