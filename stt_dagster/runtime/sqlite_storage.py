"""Dagster's storage in SQLite, for the local stack, whose connections stay open.

Dagster's own makes a new engine and connection for each query and each event. That compiles every statement anew, and
to close the last connection of a database is to write its log back: 6 ms of CPU for each of a run's hundred events
instead of 1, and most of what the daemon, asking once a second what there is to do, took. The files are the same.

It also looks whether a database has Dagster's latest tables whenever it is given one, several times a second in the
daemon and the code server, and once in the process of each step. That reads all of Dagster's migrations, 25 ms of CPU a
database, and each time Alembic keeps a function to call at exit. Here the database itself is asked, once a process, and
for the events of a run by who writes the first of them.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
)
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, inspect, text

#: How many databases stay open in a process: that of runs, that of schedules, the index of events, and those of the
#: events of so many runs more.
_DATABASES = 8
#: What Alembic asks for the revision of a database's tables. (Itself, it would have the statement compiled anew.)
_REVISION = text("SELECT version_num FROM alembic_version")
_engines: OrderedDict[str, Engine] = OrderedDict()
_engines_lock = threading.Lock()


def _engine(database: str) -> Engine:
    """Return the engine of a database; close that which was not asked for longest, since garbage is collected late."""
    with _engines_lock:
        engine = _engines.pop(database, None) or create_engine(
            database, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        )
        _engines[database] = engine
        if len(_engines) > _DATABASES:
            _, oldest = _engines.popitem(last=False)
            oldest.dispose()
        return engine


@contextmanager
def _transaction(database: str) -> Iterator[Connection]:
    with _engine(database).connect() as connection, connection.begin():
        yield connection


class _OneDatabase:
    """A storage that has one database, and knows it as `_conn_string`."""

    _conn_string: str

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with _transaction(self._conn_string) as connection:
            yield connection


class _RunStorage(_OneDatabase, SqliteRunStorage):
    pass


class _ScheduleStorage(_OneDatabase, SqliteScheduleStorage):
    pass


def _has_tables(engine: Engine) -> bool:
    with engine.connect() as connection:
        return inspect(connection).has_table("alembic_version") and connection.execute(_REVISION).first() is not None


@functools.cache
def _prepared(storage: type[_RunStorage | _ScheduleStorage], folder: str, name: str) -> str:
    """See once that the database of a storage is there, and return what it is called."""
    database = create_db_conn_string(folder, name)
    if not (Path(folder, f"{name}.db").exists() and _has_tables(_engine(database))):
        storage.from_local(folder)
    return database


class _EventLogStorage(SqliteEventLogStorage):
    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        if not _has_tables(engine):
            super()._initdb(engine, for_index_shard)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        database = self.conn_string_for_shard(shard)
        with self._db_lock:
            if shard not in self._initialized_dbs:
                self._initdb(_engine(database))
                self._initialized_dbs.add(shard)
            with _transaction(database) as connection:
                yield connection

    def store_event(self, event: EventLogEntry) -> None:
        super().store_event(event)
        os.utime(self.path_for_shard(event.run_id))  # whoever watches a run watches this file, not the log beside it


class LocalStorage(DagsterSqliteStorage):
    """Takes what Dagster's `sqlite` takes: `base_dir`, the folder of the databases."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.base_dir = base_dir
        self._inst_data = inst_data
        self._run_storage = _RunStorage(_prepared(_RunStorage, _runs_directory(base_dir), "runs"))
        self._event_log_storage = _EventLogStorage(_event_logs_directory(base_dir))
        self._schedule_storage = _ScheduleStorage(
            _prepared(_ScheduleStorage, _schedule_directory(base_dir), "schedules")
        )

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Create it as Dagster does, from what dagster.yaml says of it."""
        return cls.from_local(inst_data=inst_data, **config_value)
