"""The local stack's storage of runs: another way to ask the same databases."""

from __future__ import annotations

from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.utils import make_new_run_id
from sqlalchemy import event

from stt_core.local_stack.dagster_home import write_dagster_home
from stt_core.local_stack.home import StackHome
from stt_dagster.sqlite_storage import LocalStorage


def test_storage_when_dagsters_own_wrote_the_databases_then_has_what_is_in_them(tmp_path: Path) -> None:
    home = StackHome.at(tmp_path / "home")
    write_dagster_home(home, code_server_port=4321)
    own = DagsterSqliteStorage.from_local(str(home.dagster / "storage"))
    run = own.run_storage.add_run(DagsterRun("transcribe", run_id=make_new_run_id(), status=DagsterRunStatus.SUCCESS))
    with DagsterInstance.from_config(str(home.dagster)) as instance:
        assert isinstance(instance.get_ref().storage, LocalStorage)
        assert [found.run_id for found in instance.get_runs()] == [run.run_id]
        assert instance.all_instigator_state() == []


def test_storage_when_asked_again_then_compiles_no_statement_again(tmp_path: Path) -> None:
    storage = LocalStorage.from_local(str(tmp_path))
    runs = storage.run_storage
    compiled: list[bool] = []

    def ask() -> None:
        runs.get_runs(limit=1)

    ask()
    engine = runs._engine  # type: ignore[attr-defined]  # where SQLAlchemy tells of its cache

    @event.listens_for(engine, "before_cursor_execute")
    def note(*details: object) -> None:
        context = details[4]
        compiled.append(context.cache_hit.name == "CACHE_HIT")  # type: ignore[attr-defined]

    ask()
    assert compiled and all(compiled)
