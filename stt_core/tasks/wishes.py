"""What a caller wishes for beside the recording, looked at before anything is stored: no job is to fail over it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypedDict

from stt_core.errors import InvalidInputError, ModelNotFoundError, TranslationUnsupportedError
from stt_core.jobs.job import JobCreate, Priority
from stt_core.languages import resolve_languages
from stt_core.net import pin_url
from stt_core.options import Channels, JobOptions, Strategy
from stt_core.settings import Settings
from stt_core.transcript.text import one_line
from stt_core.whisper.models import resolve_model


class Wishes(TypedDict, total=False):
    """What a caller may ask for beside the recording: see `JobOptions` and `JobModel`; None is the default."""

    language: str | None
    languages: Sequence[str]
    track: int | None
    model: str | None
    priority: Priority
    channels: Channels
    strategy: Strategy | None
    allow_partial: bool
    prompt: str | None
    translate: bool
    temperature: float | None
    word_timestamps: bool
    metadata: dict[str, Any]
    callback_url: str | None
    #: The API key that the job belongs to.
    owner: str | None


def job_wished_for(filename: str, wishes: Wishes, settings: Settings) -> JobCreate:
    """Return the job to create, once everything that is asked for is found to be possible.

    Raises:
        ModelNotFoundError, UnknownLanguageError, LanguageChoiceError, TranslationUnsupportedError: It is not.
        InvalidInputError: The file has no name, or what `ensure_callback_allowed` says.
    """
    asked_for = wishes.get("model")
    if asked_for and os.sep in asked_for:
        raise ModelNotFoundError(
            f"There is no model named {asked_for[:80]!r}: a model is asked for by its name.",
            mend="`stt models list` shows what there is; a path can only be in WHISPER_MODEL.",
        )
    model = asked_for or settings.whisper_model
    whisper_model = resolve_model(model, settings)
    if wishes.get("translate") and not whisper_model.multilingual:
        raise TranslationUnsupportedError(
            f"The model {whisper_model.name} cannot translate: it knows English alone.",
            mend="Choose a multilingual model, such as base or small.",
        )
    if callback_url := wishes.get("callback_url"):
        ensure_callback_allowed(callback_url, settings)
    given = {name: value for name, value in wishes.items() if value is not None}
    language, languages = resolve_languages(
        wishes.get("language"),
        wishes.get("languages", ()),
        default=settings.whisper_language,
        model=whisper_model,
    )
    options = JobOptions.model_validate(
        {name: given[name] for name in JobOptions.model_fields if name in given}
        | {
            "language": language,
            "languages": languages,
            "model": model,  # as it was asked for: the run resolves it again, and a path has no other name
            "prompt": one_line(wishes.get("prompt") or "") or None,
        }
    )
    rest = {name: given[name] for name in ("priority", "metadata", "callback_url", "owner") if name in given}
    return JobCreate(filename=_shorten(filename), options=options, **rest)


def ensure_callback_allowed(url: str, settings: Settings) -> None:
    """Refuse a callback that could never be called.

    Raises:
        InvalidInputError: This system has no `WEBHOOK_SECRET` to sign with.
        ForbiddenAddressError: The URL is none, or leads to where we do not go.
        UnknownHostError: Its host has no address.
    """
    if settings.webhook_secret is None:
        raise InvalidInputError("Webhooks are off.", mend="Leave callback_url out, or set WEBHOOK_SECRET.")
    pin_url(url, allow=settings.webhook_allow)


def _shorten(filename: str) -> str:
    """Return a file name that is fit to be shown: its last part, printable, at most 255 characters."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    printable = "".join(character for character in name if character.isprintable())
    if not printable:
        raise InvalidInputError("The file has no name.", mend='Send it as multipart with filename="…".')
    return printable[:255]
