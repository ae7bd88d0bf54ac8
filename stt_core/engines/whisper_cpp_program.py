"""`stt-whisper-cli`: whisper.cpp's `whisper-cli` on the prebuilt `pywhispercpp` wheel, so that nothing is compiled.

It takes the flags of `whisper-cli` 1.8 that we use, with the same names and defaults, and writes the same JSON; the
user's own CUDA, Metal or native `whisper-cli` is a drop-in. It differs where the original misleads: every failure is a
message on standard error and an exit code other than 0 (2 wrong usage, 3 model, 4 audio, 5 output, 10 inference).

Starting this program is part of a transcription, so it imports only what it needs (no heavy module of `stt_core`,
numpy because the wheel takes samples as its arrays): measured 0.15 s to the first use of the model. For the same reason
it has no `@logged`; the transcriber that starts it logs command, exit code and standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import wave
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stt_core.engines.serving import Failure, run_program

SAMPLE_RATE = 16_000
EXIT_MODEL, EXIT_AUDIO, EXIT_OUTPUT, EXIT_INFERENCE = 3, 4, 5, 10
#: ggml's log level of errors; whisper.cpp reports a model that it cannot load on this level only.
GGML_LOG_ERROR = 4


def main() -> int:
    """Run the program of the command line and return its exit code."""
    return run_program(sys.argv[1:], _answer)


def _answer(arguments: list[str]) -> None:
    parser = _parser()
    options = parser.parse_args(arguments, argparse.Namespace(file=[]))
    if not options.file and not options.load_only:
        parser.error("no input files specified")
    if len(options.output_file) > len(options.file):
        parser.error("more output files (-of) than input files")
    # Threads that spin while they wait took four times the CPU on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _transcribe(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stt-whisper-cli", allow_abbrev=False, description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("file", nargs="*", action="extend", metavar="FILE", default=[], help="input WAV file, 16 kHz, mono, 16 bit")
    add("-f", "--file", action="append", default=[], help="the same; may be repeated")
    add("-m", "--model", required=True, help="ggml model file")
    add("-l", "--language", default="en", type=str.lower, help="spoken language, or auto to detect it")
    add("-dl", "--detect-language", action="store_true", help="tell the language only, by one pass of the encoder")
    add("-tr", "--translate", action="store_true", help="translate to English")
    add("-t", "--threads", default=min(4, os.cpu_count() or 1), type=_at_least(1), help="threads of the computation")
    add("-ot", "--offset-t", default=0, type=_at_least(0), help="where in the audio to begin, ms")
    add("-d", "--duration", default=0, type=_at_least(0), help="how much of the audio to process, ms (0: all)")
    add("-mc", "--max-context", default=-1, type=int, help="text tokens kept as context (-1: as many as fit)")
    add("-bs", "--beam-size", default=5, type=_at_least(1), help="beams of the search; 1 is greedy")
    add("-bo", "--best-of", default=5, type=_at_least(1), help="candidates kept when sampling")
    add("-tp", "--temperature", default=0.0, type=float, help="sampling temperature")
    add("-tpi", "--temperature-inc", default=0.2, type=float, help="its increment when a window fails")
    add("-nf", "--no-fallback", action="store_true", help="do not raise the temperature when a window fails")
    add("-et", "--entropy-thold", default=2.4, type=float, help="entropy below which a window fails")
    add("-lpt", "--logprob-thold", default=-1.0, type=float, help="log probability below which a window fails")
    add("-nth", "--no-speech-thold", default=0.6, type=float, help="probability above which a window is silence")
    add("-sns", "--suppress-nst", action="store_true", help="suppress non-speech tokens")
    add("--prompt", default="", help="text that precedes the audio")
    add("-nt", "--no-timestamps", action="store_true", help="no timestamps")
    add("-oj", "--output-json", action="store_true", help="write FILE.json")
    add("-ojf", "--output-json-full", action="store_true", help="write FILE.json with tokens")
    add("-of", "--output-file", action="append", default=[], help="output path without extension, one per input file")
    add("--load-only", action="store_true", help="load the model for the calls that follow (not of whisper-cli)")
    add("-np", "--no-prints", action="store_true", help="print the text only")
    return parser


def _at_least(minimum: int) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{value} is below {minimum}")
        return value

    return number


def _transcribe(options: argparse.Namespace) -> None:
    import _pywhispercpp as engine

    if options.language != "auto" and engine.whisper_lang_id(options.language) < 0:
        raise Failure(2, f"unknown language '{options.language}'")
    try:
        _transcribe_files(engine, options)
    finally:  # a Python callback that is still set when the interpreter ends aborts the process
        engine.whisper_log_set(None)


def _transcribe_files(engine: Any, options: argparse.Namespace) -> None:
    context = _load_model(engine, options.model, quiet=options.no_prints)
    if not engine.whisper_is_multilingual(context) and (options.language != "en" or options.translate):
        sys.stderr.write("warning: model is not multilingual, ignoring language and translation options\n")
        options.language, options.translate = "en", False
    if options.detect_language:
        if not engine.whisper_is_multilingual(context):
            raise Failure(2, "there is no language to detect: the model is not multilingual")
        options.language = "auto"
    for position, path in enumerate(options.file):
        context = _load_model(engine, options.model, quiet=options.no_prints)
        samples = _read_wav(path)
        heard = {}
        if options.detect_language:
            heard = _detect_language(engine, context, options, path, samples)
        elif engine.whisper_full(context, _decoding_parameters(engine, options), samples, len(samples)) != 0:
            raise Failure(EXIT_INFERENCE, f"failed to process '{path}'")
        _print_text(engine, context, timestamps=not options.no_timestamps)
        if options.output_json or options.output_json_full:
            base = options.output_file[position] if position < len(options.output_file) else path
            _write_json(f"{base}.json", _result(engine, context, options, heard))
        if _has_sampled(engine, context, options):
            _load_model.cache_clear()
            engine.whisper_free(context)


def _has_sampled(engine: Any, context: Any, options: argparse.Namespace) -> bool:
    """Say whether random numbers were drawn for the last sound: the next one would be given others than it is alone.

    whisper.cpp seeds its first decoder with the context only. It draws at a temperature, which a window that failed
    raises; how many did is told by its timings, in its log.
    """
    lines: list[str] = []
    engine.whisper_log_set(lambda level, text: lines.append(text))
    engine.whisper_print_timings(context)
    engine.whisper_log_set(None)
    engine.whisper_reset_timings(context)
    failed = re.findall(r"fallbacks = +(\d+) p / +(\d+) h", "".join(lines))
    return options.temperature > 0 or not failed or any(number != "0" for number in failed[0])


@cache
def _load_model(engine: Any, model: str, *, quiet: bool) -> Any:
    errors: list[str] = []

    def log(level: int, text: str) -> None:
        if level == GGML_LOG_ERROR or "no tensors loaded" in text:  # a header alone is a mere warning to whisper.cpp
            errors.append(text.strip())
        if not quiet:
            sys.stderr.write(text)

    if not os.access(model, os.R_OK) or not Path(model).is_file():
        raise Failure(EXIT_MODEL, f"cannot read the model '{model}'")
    engine.whisper_log_set(log)
    context = engine.whisper_init_from_file_with_params(model, engine.whisper_context_default_params())
    # The wheel hides the null pointer of a failed load, and using it is a crash: the log is the only witness.
    if errors:
        raise Failure(EXIT_MODEL, f"failed to load the model '{model}': {'; '.join(errors)}")
    return context


def _decoding_parameters(engine: Any, options: argparse.Namespace) -> Any:
    strategies = engine.whisper_sampling_strategy
    # whisper-cli starts from the greedy defaults even for a beam search, so we do.
    parameters = engine.whisper_full_default_params(strategies.WHISPER_SAMPLING_GREEDY)
    if options.beam_size > 1:
        parameters.strategy = strategies.WHISPER_SAMPLING_BEAM_SEARCH
    parameters.beam_search = {"beam_size": options.beam_size, "patience": parameters.beam_search["patience"]}
    parameters.greedy = {"best_of": options.best_of}
    parameters.print_progress = parameters.print_realtime = False
    parameters.language = options.language
    parameters.translate = options.translate
    parameters.n_threads = options.threads
    parameters.offset_ms = options.offset_t
    parameters.duration_ms = options.duration
    if options.max_context >= 0:
        parameters.n_max_text_ctx = options.max_context
    parameters.token_timestamps = options.output_json_full
    parameters.initial_prompt = options.prompt
    parameters.temperature = options.temperature
    parameters.temperature_inc = 0.0 if options.no_fallback else options.temperature_inc
    parameters.entropy_thold = options.entropy_thold
    parameters.logprob_thold = options.logprob_thold
    parameters.no_speech_thold = options.no_speech_thold
    parameters.no_timestamps = options.no_timestamps
    parameters.suppress_nst = options.suppress_nst
    return parameters


def _read_wav(path: str) -> Any:
    import numpy as np

    try:
        with wave.open(path, "rb") as audio:
            if (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) != (SAMPLE_RATE, 1, 2):
                raise Failure(EXIT_AUDIO, f"'{path}' is not 16 kHz mono 16 bit")
            frames = audio.readframes(audio.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise Failure(EXIT_AUDIO, f"failed to read audio file '{path}': {str(error) or 'it is empty'}") from error
    return np.frombuffer(frames, "<i2").astype(np.float32) / np.float32(32768)


def _segments(engine: Any, context: Any) -> Iterator[tuple[int, int, int, str]]:
    for index in range(engine.whisper_full_n_segments(context)):
        begin = engine.whisper_full_get_segment_t0(context, index)
        end = engine.whisper_full_get_segment_t1(context, index)
        yield index, begin, end, engine.whisper_full_get_segment_text(context, index).decode("utf-8", "replace")


def _print_text(engine: Any, context: Any, *, timestamps: bool) -> None:
    for _, begin, end, text in _segments(engine, context):
        times = f"[{_clock(begin, '.')} --> {_clock(end, '.')}]  " if timestamps else ""
        sys.stdout.write(f"{times}{text}\n")
    sys.stdout.flush()


def _detect_language(
    engine: Any, context: Any, options: argparse.Namespace, path: str, samples: Any
) -> dict[str, float]:
    """Return the probability of each language, the most probable first; whisper-cli tells that one alone."""
    import numpy as np

    probabilities = np.zeros(engine.whisper_lang_max_id() + 1, np.float32)
    if (
        engine.whisper_pcm_to_mel(context, samples, len(samples), options.threads) != 0
        or engine.whisper_lang_auto_detect(context, 0, options.threads, probabilities) < 0
    ):
        raise Failure(EXIT_INFERENCE, f"failed to detect the language of '{path}'")
    ranked = np.argsort(-probabilities).tolist()
    heard = {engine.whisper_lang_str(number): float(f"{probabilities[number]:.6g}") for number in ranked}
    if not options.no_prints:
        language = next(iter(heard))
        sys.stderr.write(f"auto-detected language: {language} (p = {heard[language]:f})\n")
    return heard


def _result(engine: Any, context: Any, options: argparse.Namespace, heard: dict[str, float]) -> dict[str, Any]:
    """Return the JSON document of the last transcription, with the keys and the order of whisper-cli's.

    Where the language alone was asked for, `result` has one key more: `probabilities`, what was heard.
    """
    transcription = []
    for index, begin, end, text in _segments(engine, context):
        segment: dict[str, Any] = {**_times(begin, end), "text": text}
        if options.output_json_full:
            segment["tokens"] = list(_tokens(engine, context, index))
        transcription.append(segment)
    sides = {
        side: {part: getattr(engine, f"whisper_model_n_{side}_{part}")(context) for part in _SIDE_PARTS}
        for side in ("audio", "text")
    }
    return {
        "systeminfo": engine.whisper_print_system_info(),
        "model": {
            "type": engine.whisper_model_type_readable(context),
            "multilingual": bool(engine.whisper_is_multilingual(context)),
            "vocab": engine.whisper_model_n_vocab(context),
            **sides,
            "mels": engine.whisper_model_n_mels(context),
            "ftype": engine.whisper_model_ftype(context),
        },
        "params": {"model": options.model, "language": options.language, "translate": options.translate},
        "result": (
            {"language": next(iter(heard)), "probabilities": heard}
            if heard
            else {"language": engine.whisper_lang_str(engine.whisper_full_lang_id(context))}
        ),
        "transcription": transcription,
    }


_SIDE_PARTS = ("ctx", "state", "head", "layer")


def _tokens(engine: Any, context: Any, segment: int) -> Iterator[dict[str, Any]]:
    """Yield the tokens of a segment; tokens that share one UTF-8 character are joined, as whisper-cli does."""
    count = engine.whisper_full_n_tokens(context, segment)
    position = 0
    while position < count:
        token = engine.whisper_full_get_token_data(context, segment, position)
        raw, end = engine.whisper_token_to_bytes(context, token.id), token.t1
        position += 1
        while position < count and _BROKEN_TAIL.search(raw):
            following = engine.whisper_full_get_token_data(context, segment, position)
            raw += engine.whisper_token_to_bytes(context, following.id)
            end = following.t1 if following.t1 > -1 else end
            position += 1
        times = _times(token.t0, end) if token.t0 > -1 and end > -1 else {}
        text = raw.decode("utf-8", "replace")
        yield {"text": text, **times, "id": token.id, "p": float(f"{token.p:.6g}"), "t_dtw": token.t_dtw}


#: Bytes that end within a UTF-8 character.
_BROKEN_TAIL = re.compile(rb"(?:[\xc0-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf7][\x80-\xbf]{0,2})\Z")


def _times(begin: int, end: int) -> dict[str, dict[str, Any]]:
    """Return the times of a segment or token, given in whisper's hundredths of a second."""
    return {
        "timestamps": {"from": _clock(begin, ","), "to": _clock(end, ",")},
        "offsets": {"from": begin * 10, "to": end * 10},
    }


def _clock(hundredths: int, separator: str) -> str:
    seconds, rest = divmod(hundredths, 100)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{rest * 10:03}"


def _write_json(path: str, document: dict[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False, indent="\t") + "\n"
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(EXIT_OUTPUT, f"failed to write '{path}': {error}") from error
    sys.stderr.write(f"saving output to '{path}'\n")


if __name__ == "__main__":
    sys.exit(main())
