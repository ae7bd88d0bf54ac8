"""The errors of the system, as one tree.

Every failure that leaves `stt_core` is an `SttError`, and the first question anybody asks of it is answered by its
branch: a `TransientError` may succeed when tried again unchanged (a server is away, a process was killed), a
`PermanentError` never will (the file is not audio, the model does not exist). Retries, HTTP statuses and dead letters
follow from the branch and the class; nothing else in the code base decides whether to try again.

Each class names its `kind` (stable, part of the API) and the HTTP `status` of its problem document. Each instance says
what is wrong and, as `mend`, what the reader can do about it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SttError(Exception):
    """Base of every named error.

    Args:
        message: What is wrong and where, one sentence, safe to show to the caller (no secrets).
        mend: How to put it right, one sentence.
        details: Facts for machines (sizes, limits, names); they appear in logs and problem documents.
    """

    kind: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    #: Whether trying again unchanged may succeed.
    transient: ClassVar[bool] = False
    #: Whether a server or a host was away, and nothing is wrong with the job: that burns none of `MAX_ATTEMPTS`.
    outage: ClassVar[bool] = False
    #: A caller's mistake or an everyday answer ("no such job") is logged as one warning line, without a stack trace.
    expected: ClassVar[bool] = False

    def __init__(self, message: str, *, mend: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {self.mend}" if self.mend else self.message


class TransientError(SttError):
    """May succeed when tried again unchanged."""

    kind = "transient"
    status = 503
    transient = True


class PermanentError(SttError):
    """Cannot succeed when tried again unchanged."""

    kind = "permanent"
    status = 500


# Servers and machine


class DatabaseUnavailableError(TransientError):
    """MongoDB cannot be reached or did not answer in time."""

    kind = "database-unavailable"
    outage = True


class DatabaseRefusedError(PermanentError):
    """MongoDB answered, and refused: bad credentials, an invalid operation."""

    kind = "database-refused"


class InvalidDocumentError(PermanentError):
    """A document that MongoDB holds does not fit its model: it was written by something else, or damaged."""

    kind = "invalid-document"


class QueueUnavailableError(TransientError):
    """Redis cannot be reached or did not answer in time."""

    kind = "queue-unavailable"
    outage = True


class QueueRefusedError(PermanentError):
    """Redis answered, and refused: bad credentials, a wrong type under our key."""

    kind = "queue-refused"


class StoreUnavailableError(TransientError):
    """The object store cannot be reached or answered with a server error."""

    kind = "store-unavailable"
    outage = True


class StoreRefusedError(PermanentError):
    """The object store answered, and refused: bad credentials, no such bucket, an invalid name."""

    kind = "store-refused"


class BucketNotFoundError(StoreRefusedError):
    """The object store has no such bucket."""

    kind = "bucket-not-found"
    expected = True


class ObjectNotFoundError(PermanentError):
    """An object that the truth names is not in the object store."""

    kind = "object-not-found"


class ObjectChangedError(PermanentError):
    """An object is not the version any more that was asked for."""

    kind = "object-changed"
    status = 409


class DiskFullError(TransientError):
    """A disk or an object store has no room left."""

    kind = "disk-full"
    status = 507
    outage = True


class RunInterruptedError(TransientError):
    """The process of a run was told to end before its job was done: its host or the system is being stopped."""

    kind = "run-interrupted"
    outage = True


class ConfigurationError(PermanentError):
    """A setting is missing or wrong; the message names the variable."""

    kind = "configuration"
    expected = True


class ExecutableNotFoundError(ConfigurationError):
    """A program that the settings name is not there or cannot be run."""

    kind = "executable-not-found"


# What a caller sent


class InvalidInputError(PermanentError):
    """The request or the recording is not usable as it is."""

    kind = "invalid-input"
    status = 400
    expected = True


class NotAcceptableError(InvalidInputError):
    """The `Accept` header names no form that there is of the answer."""

    kind = "not-acceptable"
    status = 406


class RangeNotSatisfiableError(InvalidInputError):
    """The request asks for bytes that the file does not have."""

    kind = "range-not-satisfiable"
    status = 416


class EmptyFileError(InvalidInputError):
    """The uploaded file has no bytes."""

    kind = "empty-file"


class FileTooLargeError(InvalidInputError):
    """The uploaded file exceeds `MAX_UPLOAD_BYTES`."""

    kind = "file-too-large"
    status = 413


class UnsupportedFormatError(InvalidInputError):
    """The bytes are not of an audio or video format we decode, whatever the name says."""

    kind = "unsupported-format"
    status = 415


class ForbiddenAddressError(InvalidInputError):
    """A URL that a caller gave leads to where we do not go: another scheme, or an address that is not public."""

    kind = "forbidden-address"


class UnknownHostError(InvalidInputError):
    """The host of a URL that a caller gave has no address."""

    kind = "unknown-host"


class SourceUnavailableError(InvalidInputError):
    """The recording could not be fetched from its `source_url`."""

    kind = "source-unavailable"
    status = 422


class UnreadableAudioError(InvalidInputError):
    """The format is known, but the recording is damaged beyond decoding."""

    kind = "unreadable-audio"
    status = 422


class NoAudioError(InvalidInputError):
    """The file is sound but holds no audio: a video without a sound track, a header without samples."""

    kind = "no-audio"
    status = 422


class AudioTooLongError(InvalidInputError):
    """The recording exceeds `MAX_AUDIO_SECONDS` or a decoding limit."""

    kind = "audio-too-long"
    status = 422


class UnknownLanguageError(InvalidInputError):
    """The language is not one that whisper knows, or the model does not speak it."""

    kind = "unknown-language"


class TranslationUnsupportedError(InvalidInputError):
    """A translation was asked for, and the model knows English alone."""

    kind = "translation-unsupported"


class ModelNotFoundError(InvalidInputError):
    """The model is not known, or known and not downloaded."""

    kind = "model-not-found"


class ModelInvalidError(PermanentError):
    """A model file is not a whisper.cpp model, or a damaged one."""

    kind = "model-invalid"


class ModelDownloadError(TransientError):
    """A model could not be fetched from where models are published."""

    kind = "model-download-failed"


# Who asks


class UnauthorizedError(PermanentError):
    """The request carries no API key, or none that is in use."""

    kind = "unauthorized"
    status = 401
    expected = True


class ForbiddenError(PermanentError):
    """The API key does not have the scope that the request takes."""

    kind = "forbidden"
    status = 403
    expected = True


class RateLimitedError(TransientError):
    """The API key sent more requests than it may."""

    kind = "rate-limited"
    status = 429
    expected = True


class TooManyUploadsError(TransientError):
    """The API key has as many uploads under way as it may."""

    kind = "too-many-uploads"
    status = 429
    expected = True


class KeyNotFoundError(InvalidInputError):
    """No API key has this id."""

    kind = "key-not-found"
    status = 404


# Jobs


class JobNotFoundError(InvalidInputError):
    """No job has this id."""

    kind = "job-not-found"
    status = 404


class JobDeletedError(JobNotFoundError):
    """There was a job with this id; it was deleted with all that belonged to it."""

    kind = "job-deleted"
    status = 410


class ResultNotReadyError(InvalidInputError):
    """The job has not finished, so there is no transcript yet."""

    kind = "result-not-ready"
    status = 409


class StillAtWorkError(TransientError):
    """The job takes longer than a request waits for it; it goes on."""

    kind = "still-at-work"
    status = 504
    expected = True


class JobFailedError(InvalidInputError):
    """The job ended without a transcript; the message carries its own error."""

    kind = "job-failed"
    status = 409


class InvalidTransitionError(PermanentError):
    """The state machine has no such step."""

    kind = "invalid-transition"
    status = 409
    expected = True


class ConflictError(TransientError):
    """Somebody else changed the document first: the compare-and-set lost its race."""

    kind = "conflict"
    status = 409
    expected = True


class IdempotencyMismatchError(InvalidInputError):
    """The idempotency key stands for another request."""

    kind = "idempotency-mismatch"
    status = 422


class RequestInProgressError(TransientError):
    """Another request with the same idempotency key is not through yet."""

    kind = "request-in-progress"
    status = 409
    expected = True


class UploadMissingError(InvalidInputError):
    """The bytes of the recording have not arrived, or the job is not one whose bytes come that way."""

    kind = "upload-missing"
    status = 409


class RecordingGoneError(InvalidInputError):
    """The recording of a job is not there (any more), so the job cannot be sent again."""

    kind = "recording-gone"
    status = 409


class SupersededError(PermanentError):
    """The job is no longer this run's: another attempt took it over, or it ended."""

    kind = "superseded"
    status = 409
    expected = True


class BusyError(TransientError):
    """More requests wait for a server than the API lets wait; this one was not begun."""

    kind = "busy"
    expected = True


class QueueFullError(TransientError):
    """The queue holds `QUEUE_MAX_SIZE` jobs; nothing was accepted."""

    kind = "queue-full"
    status = 503
    expected = True


# Backfills


class BucketNotConfiguredError(InvalidInputError):
    """No source of backfills is in the bucket."""

    kind = "bucket-not-configured"
    status = 404


class PartitionNotFoundError(InvalidInputError):
    """No object of a bucket is known under this partition key: discovery has not met it, or it is gone."""

    kind = "partition-not-found"
    status = 404


# Transcription


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


class UnexpectedError(PermanentError):
    """An exception nobody named: a defect of ours. The message carries its type and text."""

    kind = "unexpected"
