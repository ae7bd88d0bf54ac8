"""The logging and error standard, held by reading every module of the packages.

A public function that is not `@logged`, an `except` that swallows in silence and a `print` fail here. The sources are
read, not imported, so that a module need not be importable on this machine to be held to the standard.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stt_core", "stt_dagster", "api", "stt_cli")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

#: Modules that need not use `@logged` and our logger, each with the reason.
EXEMPT = {
    "stt_core/logs.py": "the decorator itself",
    "stt_core/engines/whisper_cpp_program.py": "a stand-alone program in whisper-cli's place: it starts per "
    "batch, so it stays light, and whisper-cli's own output is its contract",
    "stt_core/engines/ctranslate2_program.py": "a program of its own, isolated from every package of ours: it writes "
    "failures to standard error, which the engine that starts it logs",
    "stt_core/engines/serving.py": "runs in the programs of engines, which start fast: it writes to standard error, "
    "which the caller of an engine reads",
    "stt_core/engines/launcher.py": "becomes the engine by exec, before any package can be imported: it writes to "
    "standard error, which its parent logs",
}

#: Decorators whose functions need no lines of their own, each with the reason.
NEEDS_NO_LINES = {
    "property": "an attribute to its reader",
    "cached_property": "an attribute to its reader",
    "computed_field": "an attribute to its reader",
    "setter": "an attribute to its writer",
    "field_validator": "pydantic calls it, and reports its failure",
    "model_validator": "pydantic calls it, and reports its failure",
    "field_serializer": "pydantic calls it",
    "model_serializer": "pydantic calls it",
    "overload": "has no body",
    "abstractmethod": "has no body",
    "contextmanager": "runs inside the function that enters it, which logs what passes through",
    "asynccontextmanager": "runs inside the function that enters it, which logs what passes through",
    "graph": "composes steps when the module is loaded; it never runs",
    "graph_asset": "composes steps when the module is loaded; it never runs",
    "job": "composes steps when the module is loaded; it never runs",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


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
            (function.lineno, f"{name} is public and not @logged")
            for name, function in _public_functions(tree.body)
            if "logged" not in _decorators(function) and not NEEDS_NO_LINES.keys() & _decorators(function)
        ]
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


def _public_functions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, Function]]:
    for statement in body:
        if isinstance(statement, Function) and not statement.name.startswith("_"):
            yield f"{owner}{statement.name}", statement
        elif isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
            if "Protocol" not in {_name(base) for base in statement.bases}:
                yield from _public_functions(statement.body, f"{owner}{statement.name}.")
        elif isinstance(statement, ast.If | ast.Try):
            branches = [statement.body, statement.orelse]
            if isinstance(statement, ast.Try):
                branches += [statement.finalbody, *(handler.body for handler in statement.handlers)]
            for branch in branches:
                yield from _public_functions(branch, owner)


def _decorators(function: Function) -> set[str]:
    return {_name(item.func if isinstance(item, ast.Call) else item) for item in function.decorator_list}


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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_when_read_then_it_keeps_the_logging_standard(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    violations = find_violations(path.read_text(encoding="utf-8"), exempt=name in EXEMPT)
    assert not violations, "\n".join(f"{name}:{violation}" for violation in violations)


def test_exemptions_when_listed_then_their_modules_exist() -> None:
    assert MODULES
    assert [name for name in EXEMPT if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): ...", ["1: f is public and not @logged"]),
        ("async def f(): ...", ["1: f is public and not @logged"]),
        ("@other\ndef f(): ...", ["2: f is public and not @logged"]),
        ("if X:\n    def f(): ...", ["2: f is public and not @logged"]),
        ("class A:\n    def f(self): ...", ["2: A.f is public and not @logged"]),
        ("class A:\n    @classmethod\n    def f(cls): ...", ["3: A.f is public and not @logged"]),
        ("class A:\n    class B:\n        def f(self): ...", ["3: A.B.f is public and not @logged"]),
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
        "@logged\ndef f(): ...",
        "@router.get('/')\n@logged\nasync def f(): ...",
        "def _f(): ...",
        "@logged\ndef f():\n    def inner(): ...",
        "class _A:\n    def f(self): ...",
        "class A:\n    def __len__(self): ...",
        "class A:\n    @property\n    def f(self): ...",
        "class A:\n    @f.setter\n    def f(self, value): ...",
        "class A:\n    @field_validator('x')\n    @classmethod\n    def f(cls, value): ...",
        "class A(Protocol):\n    def f(self): ...",
        "class A(Protocol[T]):\n    def f(self): ...",
        "@overload\ndef f(): ...",
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
