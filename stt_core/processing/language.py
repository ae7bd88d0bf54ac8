"""The language of a recording: listened for where the voice is, in several places, and held for all chunks.

Whisper hears a language in 30 s of sound, whatever else is in there. Asked on every chunk it now and then takes a short
or noisy one for another language, and one without a voice for any, and writes that part of the recording in it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from itertools import pairwise

from stt_core.audio.clips import Clip
from stt_core.audio.plan import Chunk, Span
from stt_core.errors import EngineError, EngineTimeoutError
from stt_core.jobs.claims import Claim
from stt_core.languages import AUTO, AUTO_PER_CHUNK, ENGLISH, check_languages
from stt_core.logs import get_logger
from stt_core.options import JobOptions
from stt_core.processing.texts import ChunkTexts
from stt_core.temp_dirs import temporary_folder
from stt_core.transcript.formats import clock
from stt_core.warnings import RecordingWarning, WarningName

logger = get_logger(__name__)

#: So many places are listened to at the most: each is a pass of the encoder, before the chunks run side by side.
_PLACES = 4
#: A place is sure of its language with so much voice, seconds, and from this probability on. Of 130 pieces of 2 to 5 s
#: in eleven languages `base` took three for another, none with more than 0.77; of 79 of 1 s it took 14.
_SURE_SECONDS = 2.0
_SURE = 0.8
#: The share of all votes under which a language is doubtful: right ones had more in each of those 130.
_MAJORITY = 0.5


@dataclass(frozen=True)
class ChosenLanguage:
    """The language of all chunks, or `auto` where each is to detect its own, and what is doubtful about it."""

    code: str
    warnings: tuple[RecordingWarning, ...] = ()


def choose_language(
    claim: Claim,
    texts: ChunkTexts,
    chunks: Sequence[Chunk],
    voices: Mapping[int | None, Sequence[Span]],
    options: JobOptions,
    *,
    parallel: int = 1,
) -> ChosenLanguage:
    """Return the language of a recording.

    What one place hears is kept under the hash of its sound, so that a retry need not listen again. A recording of one
    chunk is transcribed on the way, which costs no more, and its text is kept. Where the engine fails, the place is
    passed over: the step that transcribes it tries again, and names it if it must.

    Args:
        claim: The job, whose end stops the engine.
        texts: Of the recording.
        chunks: All of them, in any order.
        voices: Where a voice is heard in each channel of theirs: disjoint spans in samples, in order.
        options: What the job asks for.
        parallel: How many engines listen at once, each with its share of the cores.

    Raises:
        EngineStoppedError: The job was cancelled or taken over meanwhile.
        EngineError, EngineTimeoutError: The choice is limited, and the engine fails.
        LanguageChoiceError: The choice is limited, and the model speaks English only.
    """
    allowed = check_languages(options.languages, model=texts.model)
    if not texts.model.multilingual:
        return ChosenLanguage(ENGLISH)
    if options.language != AUTO or not chunks:
        return ChosenLanguage(AUTO if options.language == AUTO_PER_CHUNK else options.language)
    if len(chunks) == 1 and not allowed:
        return ChosenLanguage(_language_of_text(claim, texts, chunks[0]))
    places = choose_places(chunks, voices)
    heard = [_limit(probabilities, allowed) for probabilities in _listen(claim, texts, places, allowed, parallel)]
    if allowed and not any(heard):
        raise EngineError(
            f"The engine heard no language in any of {len(places)} places.",
            mend="The log says why; or name the language.",
        )
    return decide_language(places, heard)


def choose_places(chunks: Sequence[Chunk], voices: Mapping[int | None, Sequence[Span]]) -> list[Chunk]:
    """Return where to listen for the language: the voice of a few chunks spread over the recording, in order.

    Of each stretch of the recording it is the chunk with most voice, without its other sounds. Crumbs of voice, which
    music may hold, count where there is nothing longer; where there is no voice at all, chunks as they are.
    """
    ordered = sorted(chunks, key=lambda chunk: chunk.start_seconds)
    voiced = [place for chunk in ordered if (place := _voiced(chunk, voices.get(chunk.channel, ())))]
    there = [place for place in voiced if place.speech_seconds >= _SURE_SECONDS] or voiced or ordered
    count = min(_PLACES, len(there))
    borders = [round(number * len(there) / count) for number in range(count + 1)]
    stretches = [there[start:end] for start, end in pairwise(borders)]
    return [max(stretch, key=lambda place: place.speech_samples) for stretch in stretches]


def decide_language(places: Sequence[Chunk], heard: Sequence[Mapping[str, float]]) -> ChosenLanguage:
    """Return the language with the most seconds of voice, those of each place shared out by its probabilities.

    Args:
        places: Where was listened.
        heard: The probabilities of languages in each place; none where nothing could be heard.
    """
    votes: Counter[str] = Counter()
    for place, probabilities in zip(places, heard, strict=True):
        votes.update({code: probability * place.speech_seconds for code, probability in probabilities.items()})
    if not votes:
        return ChosenLanguage(AUTO, (_doubt("The language could not be heard, so each part was written in its own."),))
    chosen, most = votes.most_common(1)[0]
    share = most / sum(
        place.speech_seconds for place, probabilities in zip(places, heard, strict=True) if probabilities
    )
    logger.info("language: {}, {:.0%} of what {} places heard", chosen, share, len(places))
    likeliest = [max(probabilities, key=probabilities.__getitem__, default=chosen) for probabilities in heard]
    others = [
        f"{code} at {clock(place.start_seconds)}"
        for place, code, probabilities in zip(places, likeliest, heard, strict=True)
        if code != chosen and probabilities[code] >= _SURE and place.speech_seconds >= _SURE_SECONDS
    ]
    if others:
        doubt = f"More than one language was heard: {', '.join(others)}, else {chosen}. All was written in {chosen};"
        mend = f"language={AUTO_PER_CHUNK} writes each part in its own, languages= limits the choice."
        return ChosenLanguage(chosen, (_doubt(f"{doubt} {mend}"),))
    if share < _MAJORITY:
        doubt = f"The language could not be told with confidence: {chosen} has {share:.0%}."
        return ChosenLanguage(chosen, (_doubt(f"{doubt} Name it (language=), or those it may be (languages=)."),))
    return ChosenLanguage(chosen)


def _voiced(chunk: Chunk, voice: Sequence[Span]) -> Chunk | None:
    """Return the voice of a chunk, None where it has none."""
    spans = []
    for span in chunk.spans:
        first = bisect_right(voice, span.start, key=lambda heard: heard.end)
        last = bisect_left(voice, span.end, key=lambda heard: heard.start)
        spans += [Span(start=max(heard.start, span.start), end=min(heard.end, span.end)) for heard in voice[first:last]]
    return chunk.model_copy(update={"spans": tuple(spans)}) if spans else None


def _listen(
    claim: Claim, texts: ChunkTexts, places: Sequence[Chunk], allowed: Sequence[str], parallel: int
) -> list[dict[str, float]]:
    """Return the languages of each place with their probabilities; none where the engine fails on it."""
    clips = [texts.render(place) for place in places]
    heard = [texts.find_languages(clip) or {} for clip in clips]
    unknown = [position for position, known in enumerate(heard) if not _limit(known, allowed)]
    shares = [share for first in range(parallel) if (share := unknown[first::parallel])]
    with ThreadPoolExecutor(parallel, thread_name_prefix="listen") as pool:
        detected = [
            pool.submit(copy_context().run, _detect, claim, texts, [clips[at] for at in share], allowed, parallel)
            for share in shares
        ]
    for share, answer in zip(shares, detected, strict=True):
        for position, probabilities in zip(share, answer.result(), strict=True):
            heard[position] = probabilities
            if probabilities:
                texts.keep_languages(clips[position], probabilities)
    return heard


def _detect(
    claim: Claim, texts: ChunkTexts, clips: Sequence[Clip], allowed: Sequence[str], parallel: int
) -> list[dict[str, float]]:
    with temporary_folder("language") as folder:
        wavs = [folder / f"place-{number}.wav" for number in range(len(clips))]
        for clip, wav in zip(clips, wavs, strict=True):
            clip.write_wav(wav)
        try:
            with texts.cores(parallel=parallel, should_stop=claim.is_lost) as cores:
                return texts.transcriber.engine.detect_languages(
                    wavs, allowed=allowed, threads=cores.count, slot=cores.slot, should_stop=claim.is_lost
                )
        except (EngineError, EngineTimeoutError) as error:
            logger.warning("the engine failed to detect the language of {} places: {}", len(clips), error)
    if len(clips) == 1:
        return [{}]
    return [one for clip in clips for one in _detect(claim, texts, [clip], allowed, parallel)]


def _limit(probabilities: Mapping[str, float], allowed: Sequence[str]) -> dict[str, float]:
    """Return the probabilities of the languages that are allowed, as if there were no others."""
    if not allowed:
        return dict(probabilities)
    total = sum(probabilities.get(code, 0.0) for code in allowed)
    return {code: probabilities[code] / total for code in allowed if total and code in probabilities}


def _doubt(message: str) -> RecordingWarning:
    return RecordingWarning(name=WarningName.LANGUAGE_UNCERTAIN, message=message)


def _language_of_text(claim: Claim, texts: ChunkTexts, chunk: Chunk) -> str:
    """Transcribe a chunk and return the language of its text, under which that is kept too; `auto` without one."""
    clip = texts.render(chunk)
    transcript = texts.find(key := texts.key(clip, AUTO))
    if transcript is None:
        with temporary_folder("language") as folder:
            wav = folder / "chunk.wav"
            clip.write_wav(wav)
            try:
                with texts.cores(should_stop=claim.is_lost) as cores:
                    [transcript] = texts.transcriber.transcribe(
                        [wav], language=AUTO, threads=cores.count, slot=cores.slot, should_stop=claim.is_lost
                    )
            except (EngineError, EngineTimeoutError) as error:
                logger.warning("the language cannot be told from chunk {}: {}", chunk.index, error)
                return AUTO
        texts.keep(key, transcript)
    if not transcript.segments:
        return AUTO
    logger.info("language: {}, detected on the only chunk", transcript.language)
    texts.keep(texts.key(clip, transcript.language), transcript)
    return transcript.language
