"""The storage that dagster.yaml of the local stack names, in the place of its `sqlite`: ours, or Dagster's own."""

from __future__ import annotations

from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from stt_dagster.runtime import is_tested

if is_tested():
    from stt_dagster.runtime.sqlite_storage import LocalStorage
else:
    LocalStorage = DagsterSqliteStorage  # type: ignore[assignment, misc]

__all__ = ["LocalStorage"]
