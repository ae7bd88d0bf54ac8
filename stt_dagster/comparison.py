"""The report on models: what several of them made of the same objects, and what that cost."""

from base64 import b64encode

from dagster import AssetExecutionContext, Config, MaterializeResult, MetadataValue, asset
from pydantic import Field

from stt_core.backfill.comparing import compare_versions, summarize
from stt_core.backfill.reporting import plot, to_markdown
from stt_dagster.assets import GROUP, bucket_transcripts
from stt_dagster.config import PlainText
from stt_dagster.logs import run_event_log
from stt_dagster.resources import SttResource


class ComparisonConfig(Config):
    """Which versions are compared."""

    bucket: PlainText = Field(default="", description="Where the objects are; empty for every source.")
    prefix: PlainText = Field(default="", description="What their keys in that bucket begin with.")
    model: PlainText = Field(default="", description="Only this one; empty for every other than the current version's.")
    transcripts: int = Field(default=100, ge=1, le=1000, description="How many are compared, at the most.")


@asset(
    deps=[bucket_transcripts],
    group_name=GROUP,
    description=(
        "What other models made of recordings that have a transcript: re-run a selection with the run tag `stt/model`, "
        "then materialise this. `stt backfill promote` makes the better version the current one."
    ),
)
def model_comparison(context: AssetExecutionContext, config: ComparisonConfig, stt: SttResource) -> MaterializeResult:  # type: ignore[type-arg]
    """Compare the current version of each object with those of other models, and show that as tables and a plot."""
    with run_event_log():
        differences = compare_versions(
            stt.services,
            bucket=config.bucket or None,
            prefix=config.prefix,
            model=config.model or None,
            limit=config.transcripts,
        )
    words = sum(one.words for one in differences)
    image = b64encode(plot(differences)).decode()
    return MaterializeResult(
        metadata={
            "report": MetadataValue.md(to_markdown(differences, stt.services.settings.api_url)),
            "plot": MetadataValue.md(f"![Cost and confidence](data:image/svg+xml;base64,{image})"),
            "compared": len(differences),
            "models": MetadataValue.text(", ".join(figures.model for figures in summarize(differences)) or "none"),
            "word_difference": round(sum(one.changed for one in differences) / max(1, words), 4),
        }
    )
