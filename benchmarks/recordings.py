"""What a running stack makes of folders of recordings, beside faster-whisper with the same weights in the same run.

    python benchmarks/recordings.py FOLDER [FOLDER…] [--model base] [--peer CT2_FOLDER] [--json recordings.json]

Each recording goes through the API of the stack that runs here. Where `NAME.txt` lies beside it, its word errors are
counted (characters for Chinese, Japanese, Korean); a folder whose name begins with a language's code (`de`, `en-noisy`)
says what is spoken. Printed are a row a folder, and every recording that came out empty, in another language than its
folder's, or with a warning. `--peer` needs `faster-whisper`, the word errors `whisper-normalizer`: neither is installed
with this project (`pip install faster-whisper whisper-normalizer`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path

from reports import parser_of, write_report
from rich.console import Console
from rich.table import Table
from sounds import find_recordings, spoken_in
from word_errors import counter

from stt_cli.client import ApiClient
from stt_cli.follow import upload_and_wait
from stt_core.errors import SttError
from stt_core.settings import load_settings

#: Folders of this name hold recordings in which nobody speaks.
_SPEECHLESS = frozenset({"noise", "music", "silence"})


@dataclass
class Outcome:
    """What became of a recording; errors and units are words or characters, None without a reference."""

    folder: str
    name: str
    seconds: float = 0.0
    language: str = ""
    text: str = ""
    sounds: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed_checks: list[str] = field(default_factory=list)
    failure: str | None = None
    units: int | None = None
    errors: int | None = None
    peer_language: str | None = None
    peer_text: str | None = None
    peer_errors: int | None = None


def main() -> None:
    parser = parser_of(__doc__, "recordings.json")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default=None)
    parser.add_argument("--peer", type=Path, help="the same weights as a CTranslate2 model")
    arguments = parser.parse_args()
    files = find_recordings(arguments.folders)
    settings = load_settings()
    with ApiClient(settings.api_url, settings.stt_api_key) as client:
        outcomes = [transcribe(client, path, arguments.model) for path in files]
    if arguments.peer:
        add_peer(outcomes, files, arguments.peer)
    for outcome, path in zip(outcomes, files, strict=True):
        add_errors(outcome, path.with_suffix(".txt"))
    write_report(arguments.json, recordings=[asdict(one) for one in outcomes])
    show(outcomes)


def transcribe(client: ApiClient, path: Path, model: str | None) -> Outcome:
    outcome = Outcome(path.parent.name, path.name)
    try:
        transcript = client.transcript(upload_and_wait(client, path, model=model).job_id)
    except SttError as error:
        outcome.failure = f"{error.kind}: {error.message}"
        return outcome
    outcome.seconds, outcome.language, outcome.text = transcript.duration_seconds, transcript.language, transcript.text
    outcome.sounds = [sound.text for sound in transcript.sounds]
    outcome.warnings = [f"{warning.name}: {warning.message}" for warning in transcript.warnings]
    outcome.failed_checks = [check.name for check in transcript.checks if not check.passed]
    return outcome


def add_peer(outcomes: list[Outcome], files: list[Path], model_folder: Path) -> None:
    """Transcribe the same recordings by faster-whisper as its users do: batched, its own voice detector, int8."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    pipeline = BatchedInferencePipeline(WhisperModel(str(model_folder), device="cpu", compute_type="int8"))
    for outcome, path in zip(outcomes, files, strict=True):
        try:
            segments, info = pipeline.transcribe(str(path), batch_size=8, beam_size=5)
            outcome.peer_text = " ".join(segment.text.strip() for segment in segments)
            outcome.peer_language = info.language
        except Exception as error:  # noqa: BLE001 - whatever it fails with is its result
            outcome.peer_text = ""
            outcome.failure = f"{outcome.failure or ''} peer: {error!r}"


def add_errors(outcome: Outcome, reference: Path) -> None:
    if not reference.is_file() or not reference.read_text(encoding="utf-8").strip():
        return
    count = counter(spoken_in(outcome.folder) or "en")
    truth = reference.read_text(encoding="utf-8")
    outcome.units, outcome.errors = count(truth, outcome.text)
    if outcome.peer_text is not None:
        _, outcome.peer_errors = count(truth, outcome.peer_text)


def show(outcomes: list[Outcome]) -> None:
    folders: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        folders[outcome.folder].append(outcome)
    table = Table(
        "folder", "recordings", "minutes", "errors %", "peer %", "empty", "other language", "failed", "warned"
    )
    for name, members in folders.items():
        units = sum(one.units or 0 for one in members)
        rates = [
            f"{100 * sum(getattr(one, field) or 0 for one in members) / units:.1f}"
            if units and any(getattr(one, field) is not None for one in members)
            else "–"
            for field in ("errors", "peer_errors")
        ]
        table.add_row(
            name,
            str(len(members)),
            f"{sum(one.seconds for one in members) / 60:.1f}",
            *rates,
            str(sum(not one.text for one in members)),
            str(sum(_is_astray(one) for one in members)),
            str(sum(one.failure is not None for one in members)),
            str(sum(bool(one.warnings) for one in members)),
        )
    console = Console(width=160)
    console.print(table)
    for one in outcomes:
        wrong = not one.text and one.folder not in _SPEECHLESS
        if wrong or _is_astray(one) or one.failure or one.warnings or (one.text and one.folder in _SPEECHLESS):
            console.print(
                f"{one.folder}/{one.name}: {one.language} {one.text[:60]!r} sounds {one.sounds} {one.warnings} "
                f"{one.failure or ''}",
                markup=False,
                highlight=False,
            )


def _is_astray(outcome: Outcome) -> bool:
    return bool(outcome.text) and spoken_in(outcome.folder) not in (None, outcome.language)


if __name__ == "__main__":
    main()
