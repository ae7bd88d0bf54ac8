"""Functions log their calls without saying so; what stands in a source stays as it is."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pickle
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from loguru import logger

from stt_core.logged_calls import PUBLIC_ONLY, UNLOGGED_MODULES, log_calls_of, with_logged_functions
from stt_core.logs import setup_logging

SOURCE = '''
"""A module."""

from __future__ import annotations

from stt_core.logs import get_logger, unlogged


class Counter:
    def add(self, number: int) -> int:
        return self._sum(number)

    def _sum(self, number: int) -> int:
        if number > 100:
            raise ValueError("too many")
        return number + 1


@unlogged
def often() -> None: ...


def _find(name: str) -> str:
    raise KeyError(name)


def find(name: str) -> str | None:
    try:
        return _find(name)
    except KeyError:
        return None


def fail() -> None:
    Counter().add(101)
'''.lstrip()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of one module, whose calls are logged."""
    folder = tmp_path / "some_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "some_module.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    log_calls_of("some_package")
    yield importlib.import_module("some_package.some_module")
    for name in ("some_package", "some_package.some_module"):
        del sys.modules[name]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged from now on."""
    found: list[str] = []
    setup_logging(
        "DEBUG", sink=lambda message: found.append(f"{message.record['level'].name} {message.record['message']}")
    )
    yield found
    setup_logging()


def test_functions_when_called_then_entry_and_exit_are_lines_of_private_ones_too(
    module: ModuleType, lines: list[str]
) -> None:
    assert module.Counter().add(3) == 4
    assert [line.split(" in ")[0] for line in lines] == [
        "DEBUG Counter.add(number=3)",
        "DEBUG Counter._sum(number=3)",
        "DEBUG Counter._sum -> 4",
        "DEBUG Counter.add -> 4",
    ]


def test_private_function_when_its_failure_is_expected_by_its_caller_then_it_is_no_error(
    module: ModuleType, lines: list[str]
) -> None:
    assert module.find("x") is None
    assert {line.split()[0] for line in lines} == {"DEBUG"}
    assert any("_find failed" in line and "KeyError" in line for line in lines)


def test_failure_when_nobody_catches_it_then_one_error_and_the_trace_names_the_lines_of_the_source(
    module: ModuleType, lines: list[str]
) -> None:
    with pytest.raises(ValueError, match="too many") as caught:
        module.fail()
    assert [line.split(" failed")[0] for line in lines if line.startswith("ERROR")] == ["ERROR Counter.add"]
    raised = traceback.extract_tb(caught.tb)[-1]
    assert (raised.name, raised.line) == ("_sum", 'raise ValueError("too many")')


def test_function_when_marked_as_unlogged_then_it_writes_nothing(module: ModuleType, lines: list[str]) -> None:
    module.often()
    assert lines == []


def test_sink_when_it_calls_logged_functions_then_they_are_silent(module: ModuleType) -> None:
    found: list[int] = []
    setup_logging("DEBUG", sink=lambda message: found.append(module.Counter().add(1)))
    logger.info("one line")
    setup_logging()
    assert found == [2]


def test_function_when_pickled_or_looked_at_then_it_is_what_stands_in_the_source(module: ModuleType) -> None:
    assert pickle.loads(pickle.dumps(module.find)) is module.find
    assert list(inspect.signature(module.find).parameters) == ["name"]
    assert inspect.getsource(module.find).startswith("def find(name: str)")


def test_module_when_cached_then_pythons_own_cache_is_left_alone_and_a_change_is_seen(module: ModuleType) -> None:
    source = Path(str(module.__file__))
    cached = list((source.parent / "__pycache__").glob("some_module*"))
    if sys.pycache_prefix is None:
        assert [path.name.split(".", 2)[2] for path in cached] == ["logged.pyc"]
    source.write_text(SOURCE.replace("number + 1", "number + 10"))
    del sys.modules[module.__name__]
    assert importlib.import_module(module.__name__).Counter().add(1) == 11


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): g()", ["f"]),
        ("async def f(): g()", ["f"]),
        ("@router.get('/')\ndef f(): g()", ["f"]),
        ("if X:\n    def f(): g()", ["f"]),
        ("try:\n    x()\nexcept OSError:\n    def f(): g()", ["f"]),
        ("class A:\n    @classmethod\n    def f(cls): g()\n    class B:\n        def _h(self): g()", ["f", "_h"]),
        ("def f():\n    def inner(): g()", ["f"]),
        ("class A:\n    def __len__(self): g()", []),
        ("class A:\n    @property\n    def f(self): g()", []),
        ("class A:\n    @f.setter\n    def f(self, value): g()", []),
        ("class A:\n    @field_validator('x')\n    @classmethod\n    def f(cls, value): g()", []),
        ("class A(Protocol):\n    def f(self):\n        'What.'\n        ...", []),
        ("@overload\ndef f(): ...", []),
    ],
)
def test_source_when_compiled_then_its_functions_are_logged(source: str, expected: list[str]) -> None:
    assert _logged_in(with_logged_functions(ast.parse(source))) == expected


def test_source_when_its_private_functions_see_a_word_each_then_only_public_ones_are_logged() -> None:
    source = "def f(): g()\ndef _h(): g()\nclass _A:\n    def f(self): g()\nclass B:\n    def k(self): g()"
    assert _logged_in(with_logged_functions(ast.parse(source), private=False)) == ["f", "k"]


def _logged_in(tree: ast.Module) -> list[str]:
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(isinstance(line, ast.Name) and line.id == "_logged_by_import" for line in node.decorator_list)
    ]


@pytest.mark.parametrize("package", ["stt_core", "stt_dagster", "api", "stt_cli"])
def test_packages_of_ours_when_imported_then_their_calls_are_logged(package: str) -> None:
    modules = {"stt_core": "jobs.queue", "stt_dagster": "sensors", "api": "problems", "stt_cli": "client"}
    module = importlib.import_module(f"{package}.{modules[package]}")
    assert any(_is_logged(thing) for thing in vars(module).values())


def test_modules_when_excused_then_they_exist() -> None:
    assert [name for name in (*UNLOGGED_MODULES, *PUBLIC_ONLY) if importlib.util.find_spec(name) is None] == []


def _is_logged(thing: Any) -> bool:
    functions = vars(thing).values() if isinstance(thing, type) else [thing]
    return any(isinstance(function, FunctionType) and hasattr(function, "__wrapped__") for function in functions)
