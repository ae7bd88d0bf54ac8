"""The report asset, materialised on versions that real servers hold."""

from __future__ import annotations

import re
from base64 import b64decode

from dagster import RunConfig, materialize

from stt_core.services import Services
from tests.core.backfill.test_comparing import add_object, add_version


def report(services: Services, **config: object) -> dict[str, object]:
    from stt_dagster.comparison import ComparisonConfig, model_comparison
    from stt_dagster.resources import SttResource

    result = materialize(
        [model_comparison],
        resources={"stt": SttResource()},
        run_config=RunConfig(ops={"model_comparison": ComparisonConfig.model_validate(config)}),
    )
    [event] = result.asset_materializations_for_node("model_comparison")
    return {name: value.value for name, value in event.metadata.items()}


def test_report_when_objects_have_versions_of_two_models_then_shows_table_and_plot(services: Services) -> None:
    partition = add_object(services, "a/1.wav")
    current = add_version(services, partition, "base", "the cat sat on the mat", current=True)
    add_version(services, partition, "large", "the cat sat on a mat")
    shown = report(services, bucket="calls")
    assert (shown["compared"], shown["models"], shown["word_difference"]) == (1, "base, large", round(1 / 6, 4))
    assert isinstance(shown["report"], str) and f"{services.settings.api_url}/api/v1/tasks/{current}" in shown["report"]
    image = re.fullmatch(r"!\[[\w ]+\]\(data:image/svg\+xml;base64,(.+)\)", str(shown["plot"]))
    assert image is not None and b"<svg" in b64decode(image[1])


def test_report_when_there_is_nothing_to_compare_then_says_so(services: Services) -> None:
    shown = report(services, bucket="calls", model="large")
    assert (shown["compared"], shown["models"]) == (0, "none")
    assert "No object has a transcript by another model" in str(shown["report"])
