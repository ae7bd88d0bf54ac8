"""`stt doctor`: is everything there that the settings ask for, and if not, how to mend it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches

from dotenv import dotenv_values
from rich.table import Column, Table
from rich.text import Text

from stt_cli.console import err, out
from stt_cli.local_stack.home import StackHome, is_free
from stt_cli.local_stack.processes import running_state
from stt_cli.local_stack.servers import given_variables, missing_servers
from stt_cli.local_stack.stack import reached_settings
from stt_cli.local_stack.supervisor import ensure_free
from stt_core.audio.ffmpeg import find_ffmpeg
from stt_core.cores import cores_folder, usable_cores
from stt_core.engines.choice import engine_for
from stt_core.engines.process import find_executable
from stt_core.errors import ConfigurationError, SttError
from stt_core.jobs.queue import JobQueue
from stt_core.logs import get_logger
from stt_core.settings import Settings, former_settings, load_settings
from stt_core.stores.database import Database
from stt_core.stores.object_store import ObjectStore
from stt_core.whisper.models import resolve_model

logger = get_logger(__name__)

#: Less free disk is a problem, bytes: an hour of audio needs 115 MB while it is worked on, a model up to 3 GB.
LEAST_FREE_DISK = 2 * 1024**3
#: How long a server is waited for before a stack starts, seconds.
_QUICK_SECONDS = 1.5
#: How like a setting's name a variable's is that may be meant for it, and how those begin that are for nobody else.
_NEAR = 0.8
_OUR_NAMES = ("STT_", "WHISPER_")
#: The embedded servers, and what they are to the core.
_DEPENDENCIES: dict[str, tuple[str, type[Database] | type[JobQueue] | type[ObjectStore]]] = {
    "mongo": ("mongodb", Database),
    "redis": ("redis", JobQueue),
    "s3": ("object_store", ObjectStore),
}


@dataclass(frozen=True)
class Finding:
    """What one check found. `mend` is set where something is wrong."""

    subject: str
    says: str
    mend: str | None = None
    is_problem: bool = False


def doctor() -> None:
    """Check every setting, server, executable and model, and say how to mend each. Exit status 1 on problems."""
    # A problem found is raised at the end as one ConfigurationError: the table above it has said what and how.
    findings = examine()
    columns = (Column(header, overflow="fold") for header in ("", "WHAT", "FOUND"))
    table = Table(*columns, box=None, header_style="bold")
    for finding in findings:
        mark = "[bold red]problem" if finding.is_problem else "[green]ok"
        table.add_row(mark, finding.subject, Text(finding.says))
        if finding.mend:
            table.add_row("", "", Text(f"mend: {finding.mend}", style="green"))
    out.print(table)
    problems = sum(finding.is_problem for finding in findings)
    if problems:
        raise ConfigurationError(f"{problems} problem{'s' if problems > 1 else ''} found.")
    err.print("Everything is fine.")


def ensure_startable(settings: Settings) -> None:
    """Refuse within seconds what a stack cannot start with: a taken port, a server of the user's that says no.

    Raises:
        PortTakenError: The port of the API or of the Dagster UI is taken.
        SttError: A server does not answer or refuses, or the object store has no keys.
    """
    ensure_free(settings.stt_api_port, "STT_API_PORT", settings.stt_api_host)
    ensure_free(settings.stt_dagster_port, "STT_DAGSTER_PORT")
    quick = {"mongodb_timeout_seconds": _QUICK_SECONDS, "redis_timeout_seconds": _QUICK_SECONDS}
    hasty = settings.model_copy(update={name: min(getattr(settings, name), limit) for name, limit in quick.items()})
    asks: dict[str, Callable[[], object]] = {
        "MONGODB_URL": lambda: Database(hasty).ping(),
        "REDIS_HOST": lambda: JobQueue(hasty).ping(),
        "MINIO_ENDPOINT": lambda: ObjectStore(hasty).ensure_bucket(),
    }
    given = given_variables()
    with ThreadPoolExecutor(len(asks)) as threads:
        for asked in [threads.submit(ask) for variable, ask in asks.items() if given.get(variable)]:
            asked.result()


def examine() -> list[Finding]:
    """Run every check."""
    python = f"Python {sys.version_info.major}.{sys.version_info.minor} at {sys.executable}"
    findings = [Finding("python", python)]
    try:
        settings = load_settings()
        fields = (
            f"{len(Settings.model_fields)} settings are valid; {len(settings.model_fields_set)} are not the default"
        )
        findings += [Finding("settings", fields), *check_names(), *_check_programs(settings)]
        home = StackHome.at(settings.stt_home)
    except SttError as error:
        logger.debug("the settings are wrong: {}", error)
        return [*findings, _problem("settings", error)]
    return [*findings, *_check_home(home), *_check_servers(home, settings)]


def check_names() -> Iterator[Finding]:
    """Find the variables that mean nothing any more, and those of `.env` that are named nearly as a setting."""
    former = former_settings()
    for name, instead in former.items():
        yield Finding(name, f"{name} means nothing any more: {instead}", "Remove it from .env or the environment.")
    known = [name.upper() for name in Settings.model_fields]
    for name in sorted(dotenv_values(".env").keys() - former.keys()):
        near = get_close_matches(name, known, n=2, cutoff=_NEAR)
        if name not in known and (near or name.startswith(_OUR_NAMES)):
            meant = f"Is {' or '.join(near)} meant?" if near else "`.env.example` lists those that there are."
            yield Finding(name, f"{name} in .env is no setting: it changes nothing", meant, is_problem=True)


def _check_programs(settings: Settings) -> Iterator[Finding]:
    yield _check("whisper executable", lambda: str(find_executable(settings.whisper_cpp_executable)))
    yield check_model(settings)
    yield _check("ffmpeg", lambda: find_ffmpeg(settings.ffmpeg_executable))
    yield _check("cores", lambda: f"{len(usable_cores())} for engines, leased in {cores_folder(settings.cores_dir)}")


def check_model(settings: Settings) -> Finding:
    """Find the model of recordings whose upload names none."""
    return _check(f"model {settings.whisper_model}", lambda: _find_model(settings))


def _find_model(settings: Settings) -> str:
    model = resolve_model(settings.whisper_model, settings)
    return f"{model.path}, for {engine_for(model, settings).name}"


def _check_home(home: StackHome) -> Iterator[Finding]:
    free = shutil.disk_usage(home.path).free
    says = f"{free / 1e9:.1f} GB free in {home.path}"
    enough = free >= LEAST_FREE_DISK
    yield Finding("disk", says, None if enough else "Free space, or set STT_HOME to another disk.", not enough)
    yield Finding("dagster home", str(home.dagster))


def _check_servers(home: StackHome, settings: Settings) -> Iterator[Finding]:
    """Embedded servers are asked for an answer where their stack runs, the user's own always."""
    state = running_state(home)
    embedded = missing_servers(home, given_variables(), state)
    for server in embedded:
        yield _check(f"{server.name} (embedded)", lambda server=server: server.command[0])  # type: ignore[misc]
    if state:
        yield Finding("stack", f"runs: API {state['api_url']}, Dagster UI {state['dagster_url']}")
    else:
        yield Finding("stack", "does not run here; `stt up` starts it")
        yield from _check_ports(settings)
    silent = set() if state else {server.name for server in embedded}
    reached = reached_settings(settings)
    for name, (dependency, service) in _DEPENDENCIES.items():
        if name not in silent:
            yield _check(dependency, lambda service=service: f"answers in {service(reached).ping() * 1000:.1f} ms")  # type: ignore[misc]
    if "s3" not in silent:
        yield from _check_sources(reached)


def _check_sources(settings: Settings) -> Iterator[Finding]:
    for bucket in sorted({source.bucket for source in settings.backfill_sources}):

        def look(bucket: str = bucket) -> str:
            ObjectStore(settings).in_bucket(bucket).ping()
            return "is there"

        yield _check(f"bucket {bucket}", look)


def _check_ports(settings: Settings) -> Iterator[Finding]:
    ports = {"STT_API_PORT": settings.stt_api_port, "STT_DAGSTER_PORT": settings.stt_dagster_port}
    for variable, port in ports.items():
        taken = not is_free(port)
        mend = f"Stop what listens there, or set {variable} to another port." if taken else None
        yield Finding(f"port {port}", "taken by another program" if taken else "free for `stt up`", mend, taken)


def _check(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look())
    except SttError as error:
        logger.debug("{} is not in order: {}", subject, error)
        return _problem(subject, error)


def _problem(subject: str, error: SttError) -> Finding:
    return Finding(subject, error.message, error.mend, is_problem=True)
