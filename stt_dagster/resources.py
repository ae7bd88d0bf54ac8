"""What ops and sensors are given: the core, opened once in each process that runs them."""

from __future__ import annotations

import atexit
from functools import lru_cache

from dagster import ConfigurableResource, DagsterInstance, SensorEvaluationContext

from stt_core.services import Services
from stt_core.settings import get_settings

#: The Dagster instances of this process, by the reference that leads to each: one, but in tests.
_instances: dict[str, DagsterInstance] = {}


@lru_cache(maxsize=1)
def open_services() -> Services:
    """Return the core of this process: opened at the first call, closed when the process ends."""
    services = Services.open(get_settings())
    atexit.register(services.close)
    return services


def open_instance(context: SensorEvaluationContext) -> DagsterInstance:
    """Return the Dagster instance of a sensor's tick, opened once a process.

    `context.instance`, and every resource of a sensor, opens one a tick, which reads all migrations of three databases:
    most of what an idle code server did.
    """
    if context.instance_ref is None:
        return context.instance
    key = repr(context.instance_ref)  # it has no hash
    if key not in _instances:
        _instances[key] = DagsterInstance.from_ref(context.instance_ref)
    return _instances[key]


class SttResource(ConfigurableResource["SttResource"]):
    """The core's `Services`, configured by the environment alone (see `.env.example`)."""

    @property
    def services(self) -> Services:
        """The parts of the core; they connect when they are first used."""
        return open_services()

    def task_url(self, job_id: str) -> str:
        """Return where a browser finds the job; links into the object store would need its keys, or expire."""
        return f"{self.services.settings.api_url}/api/v1/tasks/{job_id}"
