"""Every function of a package is `@logged` (see `stt_core.logs`), without a word at each of them.

The user's standard asks for a line at every entry, exit and failure of every function. `log_calls_of(__name__)` in a
package's `__init__` has the import system add the decorator, innermost, to each function and method as the package's
modules are compiled: sources, types and line numbers stay as they are written, and compiled modules are cached beside
Python's own. `tests/core/test_logged_calls.py` holds what is promised here; docs/decisions/0033 says why it is done so.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType
from typing import Any

#: Modules that log no calls, each with the reason.
UNLOGGED_MODULES = {
    "stt_core.logs": "it is what writes the lines",
    "stt_core.errors": "the log is written with it",
    "stt_core.engines.whisper_cpp_program": "a program in whisper-cli's place, started for each batch: it stays light",
    "stt_core.engines.serving": "runs in the programs of engines, which start fast and write to standard error",
    "stt_core.engines.launcher": "becomes the engine by exec, before any package can be imported",
    "stt_dagster.runtime.sqlite_storage": "Dagster writes every event through it, those that our lines become too",
}

#: Rooms and modules whose private functions log no calls: there are thousands a recording.
PUBLIC_ONLY = {
    "stt_core.transcript": "its private functions see a word, a line or a sound each",
    "stt_core.audio": "its private functions see a block of samples each",
    "stt_core.whisper.ggml": "it reads a model's vocabulary token by token",
}

#: Decorators whose functions need no lines of their own, each with the reason.
NEEDS_NO_LINES = {
    "unlogged": "says itself that it is not to be",
    "logged": "asks for them itself",
    "property": "an attribute to its reader",
    "cached_property": "an attribute to its reader",
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
_DECORATOR = "_logged_by_import"


def log_calls_of(package: str) -> None:
    """Log the calls of every module of a package that is imported from now on."""
    sys.meta_path.insert(0, _Finder(package))


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.prefix = f"{package}."

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith(self.prefix) or _is_within(fullname, UNLOGGED_MODULES):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def source_to_code(  # type: ignore[override] # typeshed has it without `_optimize`, which Python passes
        self, data: Any, path: Any, *, _optimize: int = -1
    ) -> CodeType:
        tree = with_logged_functions(ast.parse(data, path), private=not _is_within(self.name, PUBLIC_ONLY))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)
        return code

    def path_stats(self, path: str) -> dict[str, Any]:
        """What the cached code is as new as: the module's source, and what is added to it here."""
        stats = dict(super().path_stats(path))
        return stats | {"mtime": max(stats["mtime"], super().path_stats(__file__)["mtime"])}

    # Python's own cache of a module, which a tool that knows nothing of us may have written, is left alone.
    def get_data(self, path: str) -> bytes:
        return super().get_data(_of_our_cache(path))

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        super().set_data(_of_our_cache(path), data, _mode=_mode)


def _of_our_cache(path: str) -> str:
    return f"{path.removesuffix('.pyc')}.logged.pyc" if path.endswith(".pyc") else path


def _is_within(module: str, rooms: Iterable[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def with_logged_functions(module: ast.Module, *, private: bool = True) -> ast.Module:
    """Add `@logged` to every function and method of a module that has a body and is not excused."""
    decorating = _Decorating(private)
    decorating.visit(module)
    if decorating.is_used:
        # Behind what must be first in a file.
        place = next(n for n, line in enumerate(module.body) if not _is_text(line) and not _is_future(line))
        line = ast.ImportFrom("stt_core.logs", [ast.alias("logged", _DECORATOR)], 0)
        module.body.insert(place, ast.copy_location(line, module.body[place]))
    return ast.fix_missing_locations(module)


class _Decorating(ast.NodeTransformer):
    """Visits the functions of modules and classes; those inside of functions are part of them."""

    def __init__(self, private: bool) -> None:
        self.skipped = "__" if private else "_"
        self.is_used = False

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if self.skipped == "__" or not node.name.startswith("_"):
            self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: Function) -> Function:
        excuses = NEEDS_NO_LINES.keys() & {_last_name(decorator) for decorator in node.decorator_list}
        # A Protocol's method is a docstring and `...`; magic methods are called by what is logged.
        if not excuses and not node.name.startswith(self.skipped) and not all(map(_is_text, node.body)):
            node.decorator_list.append(ast.copy_location(ast.Name(_DECORATOR, ast.Load()), node))
            self.is_used = True
        return node

    visit_AsyncFunctionDef = visit_FunctionDef


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _last_name(decorator: ast.expr) -> str:
    """`b` of `@a.b`, `@a.b(…)` and `@b`."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
