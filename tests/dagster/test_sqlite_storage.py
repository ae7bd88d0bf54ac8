"""The local stack's storage of runs: another way to ask the same databases."""

from __future__ import annotations

import gc
import importlib
import os
import queue
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest
from alembic.script import ScriptDirectory
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.utils import make_new_run_id
from sqlalchemy import event

from stt_cli.local_stack.dagster_home import write_dagster_home
from stt_cli.local_stack.home import StackHome
from stt_dagster.runtime import storage as storage_of_local_stack
from stt_dagster.runtime.sqlite_storage import _DATABASES, LocalStorage, _engine


def test_storage_when_dagsters_own_wrote_the_databases_then_has_what_is_in_them(tmp_path: Path) -> None:
    home = StackHome.at(tmp_path / "home")
    write_dagster_home(home, code_server_port=4321)
    own = DagsterSqliteStorage.from_local(str(home.dagster / "storage"))
    run = own.run_storage.add_run(DagsterRun("transcribe", run_id=make_new_run_id(), status=DagsterRunStatus.SUCCESS))
    with DagsterInstance.from_config(str(home.dagster)) as instance:
        assert isinstance(instance.get_ref().storage, LocalStorage)
        assert [found.run_id for found in instance.get_runs()] == [run.run_id]
        assert instance.all_instigator_state() == []


def test_storage_when_dagster_is_another_release_then_is_dagsters_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("stt_dagster.runtime.is_tested", lambda: False)
        assert importlib.reload(storage_of_local_stack).LocalStorage is DagsterSqliteStorage
    assert importlib.reload(storage_of_local_stack).LocalStorage is LocalStorage


@pytest.mark.parametrize("asked", ["runs", "events"])
def test_storage_when_asked_again_then_neither_connects_nor_compiles_again(tmp_path: Path, asked: str) -> None:
    storage = LocalStorage.from_local(str(tmp_path))
    connected: list[object] = []
    compiled: list[bool] = []

    def ask() -> None:
        if asked == "runs":
            storage.run_storage.get_runs(limit=1)
        else:
            storage.event_log_storage.store_event(_message("hello"))

    ask()
    engines = [_engine(f"sqlite:///{path}") for path in tmp_path.rglob("*.db")]

    def note(*details: object) -> None:
        context = details[4]
        compiled.append(context.cache_hit.name == "CACHE_HIT")  # type: ignore[attr-defined]

    for engine in engines:
        event.listen(engine, "connect", lambda *details: connected.append(details))
        event.listen(engine, "before_cursor_execute", note)

    ask()
    assert compiled and all(compiled)
    assert not connected


def test_log_of_a_run_when_another_process_writes_to_it_then_a_watcher_is_told_at_once(tmp_path: Path) -> None:
    logs = LocalStorage.from_local(str(tmp_path)).event_log_storage
    logs.store_event(_message("before"))
    told: queue.Queue[str] = queue.Queue()

    def tell(entry: EventLogEntry, _: str) -> None:
        told.put(entry.user_message)

    logs.watch(_RUN, None, tell)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        other.submit(_write, tmp_path, _RUN, "from elsewhere").result()
        assert [told.get(timeout=10), told.get(timeout=10)] == ["before", "from elsewhere"]  # while its log is open
    logs.end_watch(_RUN, tell)
    logs.dispose()


def test_log_of_a_run_when_its_process_is_killed_then_keeps_what_was_written(tmp_path: Path) -> None:
    process = get_context("spawn").Process(target=_write_and_die, args=(tmp_path, _RUN, "the last words"))
    process.start()
    process.join()

    logs = LocalStorage.from_local(str(tmp_path)).event_log_storage
    assert process.exitcode == -signal.SIGKILL
    assert [entry.user_message for entry in logs.get_logs_for_run(_RUN)] == ["the last words"]


def test_storage_when_many_runs_have_written_then_few_files_are_open(tmp_path: Path) -> None:
    logs = LocalStorage.from_local(str(tmp_path)).event_log_storage
    gc.disable()  # a process that is busy collects its garbage late
    try:
        before = psutil.Process().num_fds()
        for _ in range(20):
            logs.store_event(_message("hello", make_new_run_id()))
        # A database, its log, and the memory that its connections share.
        assert psutil.Process().num_fds() - before <= 3 * _DATABASES
    finally:
        gc.enable()


def test_storage_when_made_again_then_reads_no_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def use() -> None:
        storage = LocalStorage.from_local(str(tmp_path))
        storage.event_log_storage.store_event(_message("hello"))
        assert storage.run_storage.get_runs() == []
        assert list(storage.schedule_storage.all_instigator_state()) == []

    use()
    read: list[object] = []
    monkeypatch.setattr(ScriptDirectory, "from_config", read.append)
    use()

    assert read == []


_RUN = make_new_run_id()


def _message(text: str, run_id: str = "") -> EventLogEntry:
    return EventLogEntry(
        error_info=None, level="info", user_message=text, run_id=run_id or _RUN, timestamp=time.time(), job_name="job"
    )


def _write(folder: Path, run_id: str, text: str) -> None:
    LocalStorage.from_local(str(folder)).event_log_storage.store_event(_message(text, run_id))


def _write_and_die(folder: Path, run_id: str, text: str) -> None:
    _write(folder, run_id, text)
    os.kill(os.getpid(), signal.SIGKILL)
