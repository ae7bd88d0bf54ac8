"""Counts the lines of code of each folder at the top: no blank lines, comments or docstrings.

python scripts/code_lines.py [REVISION ...]    the working tree, or revisions of git beside each other
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """How many lines of a module's text hold code."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return len(lines)


def of_folders(revision: str | None) -> Counter[str]:
    """Lines of code by the folder at the top; of the working tree where no revision is named."""
    listing = ["git", "ls-tree", "-r", "--name-only", revision] if revision else ["git", "ls-files"]
    counts: Counter[str] = Counter()
    for path in _output(*listing).splitlines():
        if path.endswith(".py"):
            text = _output("git", "show", f"{revision}:{path}") if revision else Path(path).read_text(encoding="utf-8")
            counts[path.split("/")[0]] += code_lines(text)
    return counts


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    names = sys.argv[1:] or ["working tree"]
    columns = [of_folders(None if name == "working tree" else name) for name in names]
    print(f"{'':12}" + "".join(f"{name[:12]:>14}" for name in names))
    for folder in sorted(set().union(*columns)):
        print(f"{folder:12}" + "".join(f"{column[folder]:14}" for column in columns))
    print(f"{'all':12}" + "".join(f"{column.total():14}" for column in columns))
