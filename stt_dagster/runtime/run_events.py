"""What Dagster is told of an asset in the name of a run that has ended.

In the place of `DagsterInstance.report_runless_asset_event`, which takes what a check found of a partition once, and
refuses it for ever after.
"""

from __future__ import annotations

from dagster import AssetCheckEvaluation, AssetMaterialization, DagsterEvent, DagsterEventType, DagsterInstance
from dagster._core.events import StepMaterializationData

#: The name of every run's job that materialises assets without one of our own.
_ASSET_JOB = "__ASSET_JOB"


def report_in_name_of_run(
    instance: DagsterInstance, run_id: str, told: AssetMaterialization | AssetCheckEvaluation
) -> None:
    """Write down that a run materialised an asset, or what a check of it found."""
    if isinstance(told, AssetMaterialization):
        materialized = StepMaterializationData(told)
        event = DagsterEvent(DagsterEventType.ASSET_MATERIALIZATION.value, _ASSET_JOB, event_specific_data=materialized)
    else:
        event = DagsterEvent(DagsterEventType.ASSET_CHECK_EVALUATION.value, _ASSET_JOB, event_specific_data=told)
    instance.report_dagster_event(event, run_id=run_id)
