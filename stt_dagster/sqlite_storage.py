"""Dagster's storage in SQLite, for the local stack, with one SQLAlchemy engine a database.

Dagster's own makes a new engine for each query, which compiles every statement anew: most of what its daemon, asking
once a second what there is to do, took of a processor. The files are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
)
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, NullPool, create_engine

from stt_core.logs import logged


class _OneEngine:
    """Connections of a storage that knows its `_conn_string`: each is opened for a transaction, and closed after it."""

    _conn_string: str

    @cached_property
    def _engine(self) -> Engine:
        return create_engine(self._conn_string, poolclass=NullPool)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection


class _RunStorage(_OneEngine, SqliteRunStorage):
    pass


class _ScheduleStorage(_OneEngine, SqliteScheduleStorage):
    pass


class LocalStorage(DagsterSqliteStorage):
    """Takes what Dagster's `sqlite` takes: `base_dir`, the folder of the databases."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.base_dir = base_dir
        self._inst_data = inst_data
        self._run_storage = _RunStorage.from_local(_runs_directory(base_dir))
        self._event_log_storage = SqliteEventLogStorage(_event_logs_directory(base_dir))
        self._schedule_storage = _ScheduleStorage.from_local(_schedule_directory(base_dir))

    @classmethod
    @logged
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Create it as Dagster does, from what dagster.yaml says of it."""
        return cls.from_local(inst_data=inst_data, **config_value)
