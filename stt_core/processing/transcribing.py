"""Step 3: the text of one batch of chunks; only chunks whose text is not known yet go through the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten
from typing import TypeVar

from stt_core.audio.clips import Clip
from stt_core.cores import waited_seconds
from stt_core.engines.process import engine_cpu_seconds
from stt_core.engines.rehearing import hear_missed
from stt_core.engines.transcriber import OnTranscript
from stt_core.errors import EngineError, EngineTimeoutError
from stt_core.failpoints import Failpoint, failpoint
from stt_core.jobs.claims import Claim, describe_error
from stt_core.jobs.job import ChunkModel, ChunkStatus, Lane
from stt_core.logs import get_logger, log_context
from stt_core.metrics import Tally
from stt_core.processing.handover import BatchResult, ChunkBatch, ChunkOutcome
from stt_core.processing.lanes import let_uploads_pass
from stt_core.processing.planning import chunk_document
from stt_core.processing.texts import ChunkTexts
from stt_core.services import Services
from stt_core.stores.documents import utc_now
from stt_core.temp_dirs import temporary_folder
from stt_core.transcript.document import ChunkTranscript
from stt_core.transcript.formats import clock
from stt_core.transcript.placing import place_words
from stt_core.warnings import RecordingWarning, WarningName
from stt_core.whisper.models import resolve_model

logger = get_logger(__name__)
_T = TypeVar("_T")

#: The engine's last words can be long; the reason of a gap stands in subtitles.
_REASON_CHARACTERS = 160
#: Chunks of one call in the backfill lane, at the most: uploads wait for it.
_CHUNKS_PER_BACKFILL_CALL = 4


@dataclass(frozen=True)
class _Waiting:
    """A chunk on its way: its document, its sound, and where its text will lie."""

    document: ChunkModel
    clip: Clip
    wav: Path
    key: str


def transcribe_batch(services: Services, claim: Claim, batch: ChunkBatch, *, is_last_try: bool = True) -> BatchResult:
    """Transcribe the chunks of a batch and keep each text under the hash of what it is of.

    Each engine process has a few of them, and cores of this host that are leased for it. In the backfill lane it lets
    uploads pass before.

    A text that an earlier attempt, or another upload of the same sound, left there is taken as it is. Where the engine
    fails, what it had finished is kept, and the first chunk that it had not is tried by itself, then the others: one
    bad chunk takes no other's text with it. Then speech without any words is heard once more by itself, and the words
    are placed where they are heard.

    Args:
        services: The core.
        claim: The job.
        batch: What to transcribe.
        is_last_try: Whether this is the step's last try: a chunk that fails by itself now fails for good. It is then
            left out, with the reason, where the batch allows that.

    Raises:
        EngineError, EngineTimeoutError: The engine failed on a chunk by itself; the message names it.
        EngineStoppedError: The job was cancelled or taken over meanwhile.
        ModelChangedError: The model is another one than the plan was made with.
    """
    job = claim.job()
    # Of a batch from before, the model is a short name, which of a path leads nowhere, or to another file.
    asked_for = job.options.model if batch.model_digest is None else batch.model
    model = resolve_model(asked_for, services.settings, digest=batch.model_digest)
    unpinned = f"The run began before runs named the digest of their model: {model.name} was taken as it is now."
    texts = ChunkTexts.open(services, batch.tracks, model, job)
    run = _BatchRun(services, claim, batch, texts)
    with temporary_folder("chunks") as folder:
        waiting = run.take_known(folder)
        started, cpu_before = time.monotonic() - waited_seconds(), engine_cpu_seconds()
        groups = [*run.calls(waiting)][::-1]
        while groups:
            if job.lane is Lane.BACKFILL:
                started += let_uploads_pass(services.jobs)
            group = groups.pop()
            error = run.transcribe(group)
            left = [one for one in group if one.document.index not in run.outcomes]
            if error and len(group) > 1:
                groups += [left[1:], left[:1]]
            elif error and left:
                run.give_up(left[0].document, error, accept=batch.allow_partial and is_last_try)
        if waiting and job.lane is Lane.BACKFILL:
            started += let_uploads_pass(services.jobs)
        run.settle(folder)
    return BatchResult(
        job_id=batch.job_id,
        outcomes=[run.outcomes[chunk.index] for chunk in batch.chunks],
        audio_seconds=sum(one.document.speech_seconds for one in waiting),
        engine_seconds=round(time.monotonic() - waited_seconds() - started, 3),
        cpu_seconds=round(engine_cpu_seconds() - cpu_before, 3),
        warnings=[] if batch.model_digest else [RecordingWarning(name=WarningName.MODEL_UNPINNED, message=unpinned)],
    )


@dataclass(frozen=True)
class _BatchRun:
    """One batch on its way; `outcomes` has a chunk, by its index, as soon as nothing more happens to it."""

    services: Services
    claim: Claim
    batch: ChunkBatch
    texts: ChunkTexts
    outcomes: dict[int, ChunkOutcome] = field(default_factory=dict)
    heard: dict[int, tuple[_Waiting, ChunkTranscript]] = field(default_factory=dict)

    def calls(self, items: Sequence[_T]) -> Iterator[Sequence[_T]]:
        """Yield what goes through the engine in one call."""
        size = self.texts.transcriber.engine.chunks_per_call
        if self.texts.lane is Lane.BACKFILL:
            size = min(size, _CHUNKS_PER_BACKFILL_CALL)
        for start in range(0, len(items), size):
            yield items[start : start + size]

    def take_known(self, folder: Path) -> list[_Waiting]:
        """Take the texts that are known; return the other chunks, their sound written into the folder."""
        waiting: list[_Waiting] = []
        for chunk in self.batch.chunks:
            clip = self.texts.render(chunk)
            one = _Waiting(
                chunk_document(self.claim, chunk).model_copy(update={"dbfs": clip.dbfs}),
                clip,
                folder / f"{chunk.index}.wav",
                self.texts.key(clip, self.batch.language),
            )
            if known := self.texts.find(one.key):
                self._done(one, known, cached=True)
            else:
                clip.write_wav(one.wav)
                waiting.append(one)
        return waiting

    def transcribe(self, group: Sequence[_Waiting]) -> EngineError | EngineTimeoutError | None:
        """Send chunks through one process of the engine; return its failure, if it failed."""

        def finished(position: int, transcript: ChunkTranscript) -> None:
            self.texts.keep(group[position].key, transcript)
            failpoint(Failpoint.TEXT_STORED)
            self._done(group[position], transcript, cached=False)
            failpoint(Failpoint.CHUNK_DONE)

        try:
            self._run_engine([one.wav for one in group], self.batch.language, finished)
        except (EngineError, EngineTimeoutError) as error:
            logger.warning("the engine failed on {} chunks: {}", len(group), error)
            self.services.tallies.count({Tally.ENGINE_RESTARTS: 1})
            return error
        return None

    def settle(self, folder: Path) -> None:
        """Settle the texts: what was missed is heard once more, and every word placed where it is heard.

        What the engine said stays where it is, so that all of this can be done again.
        """
        chunks = [chunk for chunk in self.batch.chunks if chunk.index in self.heard]
        clips = [self.heard[chunk.index][0].clip for chunk in chunks]
        texts = [self.heard[chunk.index][1] for chunk in chunks]
        whole = hear_missed(
            texts,
            chunks,
            clips,
            lambda stretches, language: self._hear(stretches, language, folder),
            window_seconds=self.texts.transcriber.engine.window_seconds,
        )
        for chunk, clip, text in zip(chunks, clips, whole, strict=True):
            one, before = self.heard[chunk.index]
            after = place_words(text, chunk, clip.samples)
            if after is not before:
                key = self.texts.settled_key(after)
                self.texts.keep(key, after)
                self._done(replace(one, key=key), after, cached=self.outcomes[chunk.index].cached)

    def give_up(self, document: ChunkModel, error: EngineError | EngineTimeoutError, *, accept: bool) -> None:
        """Write down that the engine fails on a chunk by itself, and raise that unless it is accepted as a gap."""
        place = f"chunk {document.index} ({clock(document.start_seconds)} to {clock(document.end_seconds)})"
        named = type(error)(f"No text for {place}: {error.message}", mend=error.mend, **error.details)
        self._write(document, status=ChunkStatus.FAILED, error=describe_error(named))
        self.services.tallies.count({Tally.CHUNK_FAILURES: 1})
        if not accept:
            raise named from error
        logger.warning("{} is left out", place)
        reason = shorten(error.message, _REASON_CHARACTERS, placeholder="…")
        self.outcomes[document.index] = ChunkOutcome(index=document.index, failure=reason)

    def _hear(self, clips: Sequence[Clip], language: str, folder: Path) -> list[ChunkTranscript | None]:
        """Return the texts of stretches: those that are known, and of the others what the engine says now."""
        stretch_keys = [self.texts.key(clip, language) for clip in clips]
        heard = [self.texts.find(key) for key in stretch_keys]
        unknown = [position for position, transcript in enumerate(heard) if transcript is None]

        def hear(positions: Sequence[int]) -> None:
            def finished(number: int, transcript: ChunkTranscript) -> None:
                heard[positions[number]] = transcript
                self.texts.keep(stretch_keys[positions[number]], transcript)

            wavs = [folder / f"stretch-{position}.wav" for position in positions]
            for position, wav in zip(positions, wavs, strict=True):
                clips[position].write_wav(wav)
            self._run_engine(wavs, language, finished)

        try:
            for positions in self.calls(unknown):
                hear(positions)
        except (EngineError, EngineTimeoutError) as error:
            logger.warning("stretches keep their first text, the engine failed on their second hearing: {}", error)
            self.services.tallies.count({Tally.ENGINE_RESTARTS: 1})
        return heard

    def _run_engine(self, wavs: Sequence[Path], language: str, on_transcript: OnTranscript) -> None:
        """Send sounds through one process of the engine, on as many threads as there are cores for it."""
        with self.texts.cores(parallel=self.batch.parallel, should_stop=self.claim.is_lost) as cores:
            self.texts.transcriber.transcribe(
                wavs,
                language=language,
                threads=cores.count,
                slot=cores.slot,
                should_stop=self.claim.is_lost,
                on_transcript=on_transcript,
            )

    def _done(self, one: _Waiting, transcript: ChunkTranscript, *, cached: bool) -> None:
        document, words = one.document, transcript.word_count
        self.heard[document.index] = (one, transcript)
        self._write(
            document,
            status=ChunkStatus.DONE,
            result_key=one.key,
            cached=cached,
            language=transcript.language,
            words=words,
        )
        self.outcomes[document.index] = ChunkOutcome(index=document.index, result_key=one.key, cached=cached)
        with log_context(chunk=document.index):
            logger.info(
                "chunk done: {:.1f}-{:.1f} s, {} words, cached={}",
                document.start_seconds, document.end_seconds, words, cached,
            )  # fmt: skip

    def _write(self, document: ChunkModel, **changes: object) -> None:
        """Tell MongoDB what became of a chunk."""
        self.services.chunks.update_chunk(document.model_copy(update=changes | {"updated_at": utc_now()}))
