"""A recording: how it comes to us, and whether it can be decoded."""

from __future__ import annotations

from stt_core.errors.requests import InvalidInputError


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


class UploadMissingError(InvalidInputError):
    """The bytes of the recording have not arrived, or the job is not one whose bytes come that way."""

    kind = "upload-missing"
    status = 409


class RecordingGoneError(InvalidInputError):
    """The recording of a job is not there (any more), so the job cannot be sent again."""

    kind = "recording-gone"
    status = 409


class UnreadableAudioError(InvalidInputError):
    """The format is known, but the recording is damaged beyond decoding."""

    kind = "unreadable-audio"
    status = 422


class NoAudioError(InvalidInputError):
    """The file is sound but holds no audio: a video without a sound track, a header without samples."""

    kind = "no-audio"
    status = 422


class TrackNotFoundError(InvalidInputError):
    """The recording has no audio track of the number that was asked for."""

    kind = "track-not-found"
    status = 422


class AudioTooLongError(InvalidInputError):
    """The recording exceeds `MAX_AUDIO_SECONDS` or a decoding limit."""

    kind = "audio-too-long"
    status = 422
