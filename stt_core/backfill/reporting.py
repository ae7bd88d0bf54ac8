"""A comparison of models as people see it: a table in Markdown, and a plot as SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from stt_core.backfill.comparing import Difference, ModelFigures, Version, by_model, summarize

#: What may mean something in Markdown or HTML; an object's key is somebody's text.
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def to_markdown(differences: Sequence[Difference], api_url: str) -> str:
    """Return a comparison as two tables: the models, then the objects, those that differ most first.

    Args:
        differences: What was compared.
        api_url: Where the API is: each version links to its transcript there.
    """
    if not differences:
        return "No object has a transcript by another model than its current one."
    models = [
        "| Model | Objects | Words that differ | Confidence | CPU s per s | Real-time factor |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *map(_model_row, summarize(list(differences))),
    ]
    objects = [
        "| Object | Current | Other | Words that differ | Confidence | CPU s per s | Real-time factor |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        *(_object_row(one, api_url) for one in sorted(differences, key=lambda one: -one.rate)),
    ]
    notes = (
        "The figures of an object are those of its current version → those of the other. No cost is given where every "
        "sound had been transcribed before, and its text was taken from the cache."
    )
    return "\n".join([*models, "", *objects, "", notes])


def plot(differences: Sequence[Difference]) -> bytes:
    """Return an SVG image: for each transcript what it cost, and how sure the engine was of it."""
    import pygal  # of the runs that plot; every process of the code server would have it otherwise
    from pygal.style import CleanStyle

    chart = pygal.XY(
        stroke=False,
        js=[],  # an image loads none
        style=CleanStyle(font_family="sans-serif"),
        width=800,
        height=400,
        explicit_size=True,
        dots_size=4,
        truncate_legend=-1,
        x_title="CPU seconds for a second of sound",
        y_title="Confidence",
        no_data_text="No version with a cost and a confidence",
    )
    for model, versions in by_model(version for one in differences for version in (one.current, one.other)):
        dots = [(version.cpu_factor, version.result.confidence) for version in versions]
        chart.add(model, [dot for dot in dots if None not in dot])
    image: bytes = chart.render()
    return image


def _model_row(row: ModelFigures) -> str:
    changed = "current" if row.word_difference is None else f"{row.word_difference:.1%}"
    cells = [_number(row.confidence), _number(row.cpu_factor), _number(row.real_time_factor)]
    return f"| {escape(row.model)} | {row.objects} | {changed} | {' | '.join(cells)} |"


def _object_row(one: Difference, api_url: str) -> str:
    pairs = [
        (one.current.result.confidence, one.other.result.confidence),
        (one.current.cpu_factor, one.other.cpu_factor),
        (one.current.real_time_factor, one.other.real_time_factor),
    ]
    cells = " | ".join(f"{_number(before)} → {_number(after)}" for before, after in pairs)
    links = " | ".join(_link(version, api_url) for version in (one.current, one.other))
    return f"| {escape(one.partition)} | {links} | {one.changed} of {one.words} ({one.rate:.1%}) | {cells} |"


def _link(version: Version, api_url: str) -> str:
    return f"[{escape(version.model)}]({api_url}/api/v1/tasks/{quote(version.job_id)}/result?format=text)"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def escape(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))
