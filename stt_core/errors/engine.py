"""The transcription: languages and models, the processes that do it, and their chunks."""

from __future__ import annotations

from stt_core.errors.base import PermanentError, TransientError
from stt_core.errors.requests import InvalidInputError


class UnknownLanguageError(InvalidInputError):
    """The language is not one that whisper knows, or the model does not speak it."""

    kind = "unknown-language"


class LanguageChoiceError(InvalidInputError):
    """`languages` has one that whisper does not know, or there is nothing to choose for this language or model."""

    kind = "language-choice"
    status = 422


class TranslationUnsupportedError(InvalidInputError):
    """A translation was asked for, and the model knows English alone."""

    kind = "translation-unsupported"


class ModelNotFoundError(InvalidInputError):
    """The model is not known, or known and not downloaded."""

    kind = "model-not-found"


class ModelInvalidError(PermanentError):
    """A model is damaged, or not of a kind that an engine reads."""

    kind = "model-invalid"


class ModelDownloadError(TransientError):
    """A model could not be fetched from where models are published."""

    kind = "model-download-failed"
    expected = True


class ModelChangedError(PermanentError):
    """A model's file is another one than the run began with."""

    kind = "model-changed"


class DecoderError(TransientError):
    """The decoder's process was killed from outside, or hung."""

    kind = "decoder-failed"


class EngineError(TransientError):
    """The whisper process died or left no usable output."""

    kind = "engine-failed"


class EngineTimeoutError(TransientError):
    """The whisper process outlasted the time its audio is worth."""

    kind = "engine-timeout"


class EngineStoppedError(PermanentError):
    """The whisper process was stopped because its job was cancelled or taken over."""

    kind = "engine-stopped"
    expected = True


class MissingChunksError(TransientError):
    """The merge was called without a result for every chunk of the plan."""

    kind = "missing-chunks"
