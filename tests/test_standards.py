"""The logging and error standard, held by reading every module of the packages.

An `except` that swallows in silence and a `print` fail here; that every function logs its calls is the matter of
`stt_core/logged_calls.py`. The sources are read, not imported, so that a module need not be importable on this machine.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stt_core", "stt_dagster", "api", "stt_cli")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

#: Modules whose `except` may be silent, each with the reason.
EXEMPT = {
    "stt_core/logs.py": "the log itself",
    "stt_core/engines/whisper_cpp_program.py": "a stand-alone program in whisper-cli's place: it writes failures to "
    "standard error, as whisper-cli does",
    "stt_core/engines/ctranslate2_program.py": "a program of its own, isolated from every package of ours: it writes "
    "failures to standard error, which the engine that starts it logs",
    "stt_core/engines/serving.py": "runs in the programs of engines, which start fast: it writes to standard error, "
    "which the caller of an engine reads",
    "stt_core/engines/launcher.py": "becomes the engine by exec, before any package can be imported: it writes to "
    "standard error, which its parent logs",
}


def find_violations(source: str, *, exempt: bool = False) -> list[str]:
    """Return what is wrong with a module, as `line: what`."""
    tree = ast.parse(source)
    found = [
        (call.lineno, "print() instead of a logger")
        for call in _calls(tree)
        if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
    if not exempt:
        found += [
            (handler.lineno, "an except that neither raises nor logs")
            for handler in ast.walk(tree)
            if isinstance(handler, ast.ExceptHandler) and not _speaks(handler)
        ]
        found += [
            (call.lineno, "suppress() swallows without logging")
            for call in _calls(tree)
            if _name(call.func) == "suppress"
        ]
    return [f"{line}: {what}" for line, what in sorted(found)]


def _speaks(handler: ast.ExceptHandler) -> bool:
    return any(
        isinstance(node, ast.Raise)
        or (isinstance(node, ast.Call) and (_name(node.func) == "log_exception" or "logger" in _chain(node.func)))
        for statement in handler.body
        for node in ast.walk(statement)
    )


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _name(node: ast.expr) -> str:
    """The last name of `a.b.c`, also of `a.b[c]`."""
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _chain(node: ast.expr) -> set[str]:
    """Every name on the way to a called attribute: `logger.opt(x).error` gives error, opt and logger."""
    names = set()
    while True:
        names.add(_name(node).lstrip("_"))
        if isinstance(node, ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return names


def test_modules_when_read_then_they_keep_the_logging_standard() -> None:
    names = {path: path.relative_to(ROOT).as_posix() for path in MODULES}
    violations = [
        f"{name}:{violation}"
        for path, name in names.items()
        for violation in find_violations(path.read_text(encoding="utf-8"), exempt=name in EXEMPT)
    ]
    assert not violations, "\n".join(violations)


def test_exemptions_when_listed_then_their_modules_exist() -> None:
    assert MODULES
    assert [name for name in EXEMPT if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("try:\n    x()\nexcept OSError:\n    pass", ["3: an except that neither raises nor logs"]),
        ("try:\n    x()\nexcept OSError:\n    y = z.error('!')", ["3: an except that neither raises nor logs"]),
        ("with suppress(OSError):\n    x()", ["1: suppress() swallows without logging"]),
        ("with contextlib.suppress(OSError):\n    x()", ["1: suppress() swallows without logging"]),
        ("def _f():\n    print('x')", ["2: print() instead of a logger"]),
    ],
)
def test_walker_when_a_module_breaks_the_standard_then_it_says_where(source: str, expected: list[str]) -> None:
    assert find_violations(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    x()\nexcept OSError as e:\n    raise Named() from e",
        "try:\n    x()\nexcept OSError as e:\n    if y:\n        logger.opt(exception=e).error('!')",
        "try:\n    x()\nexcept OSError as e:\n    log_exception(logger, 'x', e)",
        "console.print('x')",
    ],
)
def test_walker_when_a_module_keeps_the_standard_then_it_is_content(source: str) -> None:
    assert find_violations(source) == []


def test_walker_when_a_module_is_exempt_then_print_is_still_refused() -> None:
    assert find_violations("def f():\n    print('x')", exempt=True) == ["2: print() instead of a logger"]
