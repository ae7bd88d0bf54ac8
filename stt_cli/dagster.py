"""Dagster as the command line sees it: its GraphQL API, to launch backfills and to watch them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from stt_core.errors import PermanentError, TransientError
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: The asset of `stt_dagster` whose partitions are the transcripts of the objects.
ASSET = "bucket_transcripts"
#: The tag that has a run transcribe with another model than its source's.
_MODEL = "stt/model"
#: A backfill of 100 000 partitions is a request of megabytes, which Dagster takes a while to check.
_TIMEOUT = httpx.Timeout(30.0, read=300.0, write=300.0)
#: States of a backfill that nothing follows.
_OVER = frozenset({"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"})

_LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message }
  }
}
"""
_UNDER_WAY = """
query {
  partitionBackfillsOrError(status: REQUESTED) {
    __typename
    ... on PartitionBackfills {
      results {
        tags { key value }
        partitionsTargetedForAssetKey(assetKey: {path: ["bucket_transcripts"]}) { partitionKeys }
      }
    }
    ... on Error { message }
  }
}
"""
_WATCH = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill {
      status
      error { message }
      assetBackfillData {
        assetBackfillStatuses {
          ... on AssetPartitionsStatusCounts {
            numPartitionsTargeted numPartitionsInProgress numPartitionsMaterialized numPartitionsFailed
          }
        }
      }
    }
    ... on Error { message }
  }
}
"""
_RUN = """
query ($id: ID!) {
  runOrError(runId: $id) {
    __typename
    ... on Run { status }
    ... on Error { message }
  }
}
"""
#: States of a run that nothing follows.
_ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


class DagsterUnreachableError(TransientError):
    """Dagster's web server does not answer."""

    kind = "dagster-unreachable"
    expected = True


class DagsterRefusedError(PermanentError):
    """Dagster answered, and not with what was asked for."""

    kind = "dagster-refused"
    expected = True


@dataclass(frozen=True)
class BackfillState:
    """Where a backfill stands, in partitions; those that are in none of the states wait for their turn."""

    status: str
    targeted: int
    running: int
    done: int
    failed: int
    #: What ended it, where that was no run of it.
    error: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is to come any more."""
        return self.status in _OVER


class DagsterClient:
    """A client of one Dagster web server.

    Args:
        url: Its address, such as http://127.0.0.1:3000.
    """

    def __init__(self, url: str, login: tuple[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        local = httpx.URL(self._url).host in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(timeout=_TIMEOUT, trust_env=not local, auth=login)

    def launch(self, partitions: Sequence[str], *, title: str, model: str | None) -> str:
        """Launch a backfill of those partitions and return its id.

        Args:
            partitions: Their keys.
            title: What people see of it in a list.
            model: What to transcribe with; None for the model of each object's source.

        Raises:
            DagsterUnreachableError: Dagster does not answer.
            DagsterRefusedError: It does not launch it; says why.
        """
        params = {
            "assetSelection": [{"path": [ASSET]}],
            "partitionNames": list(partitions),
            "title": title,
            "tags": [{"key": _MODEL, "value": model}] if model else [],
        }
        answer = self._ask("launchPartitionBackfill", "LaunchBackfillSuccess", _LAUNCH, params=params)
        return str(answer["backfillId"])

    def under_way(self, model: str | None) -> set[str]:
        """Return the partitions of all backfills that are under way with that model (None: that of their sources).

        Raises:
            DagsterUnreachableError: Dagster does not answer.
        """
        answer = self._ask("partitionBackfillsOrError", "PartitionBackfills", _UNDER_WAY)
        keys: set[str] = set()
        for backfill in answer["results"]:
            tags = {tag["key"]: tag["value"] for tag in backfill["tags"]}
            if tags.get(_MODEL) == model:
                keys.update((backfill["partitionsTargetedForAssetKey"] or {}).get("partitionKeys") or ())
        return keys

    def state(self, backfill_id: str) -> BackfillState:
        """Return where a backfill stands.

        Raises:
            DagsterUnreachableError: Dagster does not answer.
            DagsterRefusedError: It knows no such backfill.
        """
        answer = self._ask("partitionBackfillOrError", "PartitionBackfill", _WATCH, id=backfill_id)
        counts: list[dict[str, int]] = answer["assetBackfillData"]["assetBackfillStatuses"]

        def sum_of(figure: str) -> int:
            return sum(each.get(f"numPartitions{figure}", 0) for each in counts)

        return BackfillState(
            status=answer["status"],
            targeted=sum_of("Targeted"),
            running=sum_of("InProgress"),
            done=sum_of("Materialized"),
            failed=sum_of("Failed"),
            error=(answer["error"] or {}).get("message"),
        )

    def has_ended(self, run_id: str) -> bool:
        """Return whether a run is over.

        Raises:
            DagsterUnreachableError: Dagster does not answer.
            DagsterRefusedError: It knows no such run.
        """
        return self._ask("runOrError", "Run", _RUN, id=run_id)["status"] in _ENDED

    def backfill_url(self, backfill_id: str) -> str:
        """Return where people see a backfill."""
        return f"{self._url}/runs/b/{backfill_id}"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, field: str, wanted: str, query: str, **variables: Any) -> dict[str, Any]:
        try:
            response = self._http.post(f"{self._url}/graphql", json={"query": query, "variables": variables})
        except httpx.HTTPError as error:
            raise DagsterUnreachableError(
                f"Dagster at {self._url} does not answer ({str(error) or type(error).__name__}).",
                mend="Start it with `stt up`, or give its address in STT_DAGSTER_URL.",
            ) from error
        try:
            body = response.json()
            answer: dict[str, Any] = body["data"][field]
            kind, message = answer["__typename"], answer.get("message")
        except (ValueError, KeyError, TypeError) as error:
            logger.debug("no answer of Dagster's: {}", error)
            raise DagsterRefusedError(
                f"{self._url} answers {response.status_code} {response.reason_phrase}, but not as Dagster does.",
                mend="Check STT_DAGSTER_URL, and that STT's code location is loaded there.",
            ) from error
        if kind != wanted:
            raise DagsterRefusedError(
                f"Dagster answers {kind}" + (f": {message.splitlines()[0][:500]}" if message else "."),
                mend=f"Look at {self._url}/locations: is STT's code location loaded?",
            )
        return answer
