"""Step outputs as small JSON objects in the object store, so that the next step can run on any machine."""

from __future__ import annotations

from dagster import ConfigurableIOManager, Failure, InputContext, OutputContext

from stt_core import object_keys
from stt_core.errors import ObjectNotFoundError
from stt_core.jobs.claims import MEND_SWEPT
from stt_core.logs import get_logger
from stt_core.processing.handover import StepOutput
from stt_dagster.jobs import job_of
from stt_dagster.resources import SttResource

logger = get_logger(__name__)


class JsonIOManager(ConfigurableIOManager):
    """Writes each output to `runs/<job>/<run>/<step>/<output>.json` and reads it as its own type."""

    stt: SttResource

    def handle_output(self, context: OutputContext, obj: StepOutput) -> None:
        """Write a step's output."""
        self.stt.services.store.put_bytes(
            _key(obj.job_id, context), obj.model_dump_json().encode(), content_type="application/json"
        )

    def load_input(self, context: InputContext) -> StepOutput:
        """Read the output of the step before, which another run may have written: one of the same job.

        Raises:
            Failure: It is gone: a run is re-executed from its failure after its outputs were swept.
        """
        upstream = context.upstream_output
        # As Dagster has it now: the job that a run has opened by itself is in no earlier copy of its tags.
        run = context.step_context.instance.get_run_by_id(context.step_context.run_id)
        job = job_of(run) if run else None
        if upstream is None or job is None:
            raise Failure(f"Input {context.name} comes from no step. Run the whole job.", allow_retries=False)
        try:
            stored = self.stt.services.store.get_bytes(_key(job[0], upstream))
        except ObjectNotFoundError as error:
            logger.error("input {}: {}", context.name, error)
            raise Failure(f"{error} {MEND_SWEPT}", allow_retries=False) from error
        parsed: StepOutput = upstream.dagster_type.typing_type.model_validate_json(stored)
        return parsed


def _key(job_id: str, context: OutputContext) -> str:
    step = context.step_key if context.mapping_key is None else f"{context.step_key}.{context.mapping_key}"
    return object_keys.step_output(job_id, context.run_id, step, context.name)
