"""The command line as users have it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import Result
from typer.testing import CliRunner

from stt_cli.local_stack.home import StackHome
from stt_cli.local_stack.processes import MARK
from stt_cli.main import app
from stt_core.logs import setup_logging


@pytest.fixture
def home(tmp_path: Path) -> StackHome:
    return StackHome.at(tmp_path / "a home")


Stt = Callable[..., Result]


@pytest.fixture
def stt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stt]:
    """Run a command as users type it, in this process, which starts at once, and in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"STT_HOME": str(tmp_path / "home")})

    def run(*arguments: str, **environment: str) -> Result:
        done = runner.invoke(app, arguments, env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.output
        return done

    yield run
    setup_logging(sink=sys.stderr)


def marked(home: StackHome) -> list[psutil.Process]:
    """Everything that runs for this home, or in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARK) == str(home.path) or str(home.path) in process.cwd():
                found.append(process)
        except psutil.Error:
            continue
    return found
