"""Settings: every variable of `.env.example`, read once, validated at start.

A field `mongodb_url` is the environment variable `MONGODB_URL`; the environment wins over `.env`. A wrong value is
refused with the variable's name and how to mend it (`ConfigurationError`). Passwords and secret keys are `SecretStr`:
they appear as `**********` wherever settings are printed or logged.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, MongoDsn, SecretStr, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stt_core import object_keys
from stt_core.cores import usable_cores
from stt_core.errors import ConfigurationError, UnknownLanguageError
from stt_core.languages import check_language
from stt_core.logs import get_logger, mask_secrets
from stt_core.options import Strategy
from stt_core.sources import BUCKET_PATTERN, BackfillSource, find_overlap

logger = get_logger(__name__)

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
#: How long something is kept, days; 0 keeps it for ever.
Days = Annotated[float, Field(ge=0, le=36_500)]
#: The checks of every transcript (see `stt_core.transcript.quality`).
QualityName = Literal["speech_coverage", "repetition", "speech_rate", "monotonic_times", "language_flips", "confidence"]
#: What runs models; `auto` goes by the kind of the model.
WhisperEngine = Literal["auto", "whisper.cpp", "ctranslate2"]
#: What the secrets of Standard Webhooks begin with; their key follows in Base64, of this many bytes.
WEBHOOK_SECRET_PREFIX = "whsec_"
_WEBHOOK_KEY_BYTES = range(24, 65)
#: Who signs in to the Dagster UI.
DAGSTER_USER = "stt"
_HIGH_FIRST = "high jobs are always next, and one start in five goes to the oldest lower job"
#: Variables of former releases, and what does their work now.
_FORMER = {"QUEUE_NORMAL_DELAY_SECONDS": _HIGH_FIRST, "QUEUE_LOW_DELAY_SECONDS": _HIGH_FIRST}


class Settings(BaseSettings):
    """The configuration of one process. Sizes are bytes, durations seconds, levels dBFS, unless the name says other."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        alias_generator=str.upper,
        populate_by_name=True,
    )

    # MongoDB: the truth about jobs
    mongodb_url: str = "mongodb://localhost:27017"
    mongodb_database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,63}$")] = "stt_system"
    mongodb_max_pool_size: Annotated[int, Field(ge=1)] = 10
    mongodb_min_pool_size: Annotated[int, Field(ge=0)] = 1
    mongodb_timeout_seconds: Seconds = 5.0

    # Redis: the priority queue
    redis_host: Annotated[str, Field(min_length=1)] = "localhost"
    redis_port: Port = 6379
    redis_db: Annotated[int, Field(ge=0)] = 0
    redis_password: SecretStr | None = None
    redis_ssl: bool = False
    redis_timeout_seconds: Seconds = 5.0
    queue_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_:-]{1,64}$")] = "stt:queue"
    queue_max_size: Annotated[int, Field(ge=1)] = 10_000
    queue_lease_seconds: Annotated[int, Field(ge=5)] = 60

    # Object store (S3): the bytes
    minio_endpoint: Annotated[str, Field(pattern=r"^[^/\s]+$")] = "localhost:9000"
    minio_access_key: str | None = None
    minio_secret_key: SecretStr | None = None
    minio_secure: bool = False
    minio_region: str = "us-east-1"
    minio_public_endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None
    minio_bucket: Annotated[str, Field(pattern=BUCKET_PATTERN)] = "stt"

    # Uploads
    max_upload_bytes: Annotated[int, Field(ge=1)] = 2 * 1024**3
    max_audio_seconds: Seconds = 12 * 3600.0
    presign_seconds: Annotated[int, Field(ge=1, le=7 * 86_400)] = 3600
    source_url_allow: Annotated[tuple[str, ...], NoDecode] = ()
    source_url_seconds: Seconds = 600.0

    # Audio: decoding, cutting, packing
    ffmpeg_executable: str | None = None
    chunk_strategy: Strategy = "auto"
    chunk_max_seconds: Annotated[float, Field(ge=5, le=29.5)] = 29.0
    chunk_overlap_seconds: Annotated[float, Field(ge=0.5, le=4)] = 2.0
    chunk_joint_ms: Annotated[int, Field(ge=0, le=1000)] = 0
    silence_threshold_dbfs: Annotated[float, Field(ge=-96, le=0)] | Literal["auto"] = "auto"
    silence_min_ms: Annotated[int, Field(ge=100, le=10_000)] = 500
    speech_padding_ms: Annotated[int, Field(ge=0, le=1000)] = 150

    # The engines and their models
    whisper_engine: WhisperEngine = "auto"
    whisper_cpp_executable: str = "stt-whisper-cli"
    whisper_model: Annotated[str, Field(min_length=1)] = "base"
    whisper_models_dir: Path = Path("~/.cache/stt/models")
    whisper_models_url: str = "https://huggingface.co/ggerganov/whisper.cpp/resolve/main"
    whisper_language: str = "auto"
    whisper_beam_size: Annotated[int, Field(ge=1, le=8)] = 5
    whisper_best_of: Annotated[int, Field(ge=1, le=8)] = 5
    whisper_timeout_seconds: Seconds = 120.0
    whisper_timeout_per_audio_second: Seconds = 10.0

    # Quality checks
    quality_errors: Annotated[tuple[QualityName, ...], NoDecode] = ("repetition", "monotonic_times")

    # Runs and retries
    max_concurrent_runs: Annotated[int, Field(ge=1)] = 2
    max_concurrent_steps: Annotated[int, Field(ge=1)] = Field(default_factory=lambda: len(usable_cores()))
    cores_dir: Path | None = None
    in_process_max_seconds: Annotated[float, Field(ge=0)] = 180.0
    max_attempts: Annotated[int, Field(ge=1)] = 3
    step_retries: Annotated[int, Field(ge=0)] = 2
    retry_backoff_seconds: Seconds = 5.0
    retry_backoff_max_seconds: Seconds = 300.0
    start_timeout_seconds: Seconds = 120.0
    reconcile_seconds: Annotated[int, Field(ge=1)] = 15
    run_silence_seconds: Seconds = 60.0

    # Backfills: the recordings of buckets
    backfill_sources: Annotated[tuple[BackfillSource, ...], NoDecode] = ()
    backfill_output_prefix: str = "transcripts/"
    max_concurrent_backfills: Annotated[int, Field(ge=1)] = 1

    # What is kept
    audio_days: Days = 1.0
    chunk_cache_days: Days = 30.0
    result_days: Days = 0.0
    deleted_job_days: Days = 365.0
    sweep_orphans: bool = False

    # Webhooks
    webhook_secret: SecretStr | None = None
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = ()

    # The doors
    stt_home: Path = Path(".stt")
    stt_api_host: str = "127.0.0.1"
    stt_api_port: Port = 8000
    stt_api_url: str | None = None
    stt_api_key: SecretStr | None = None
    #: `auto` asks for keys once one was made, and always where the API listens on more than this machine.
    api_keys: Literal["auto", "required", "off"] = "auto"
    stt_dagster_port: Port = 3000
    stt_dagster_url: str | None = None
    stt_dagster_password: SecretStr | None = None
    openai_wait_seconds: Seconds = 540.0

    # Logging
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_json: bool = False

    @field_validator("mongodb_url")
    @classmethod
    def _check_mongodb_url(cls, value: str) -> str:
        try:
            TypeAdapter(MongoDsn).validate_python(value)
        except ValidationError as error:
            raise ValueError("must look like mongodb://[user:password@]host[:port][/?options]") from error
        return value

    @field_validator("whisper_models_dir", "stt_home", "cores_dir")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value and value.expanduser()

    @field_validator("whisper_model")
    @classmethod
    def _check_model_path(cls, value: str) -> str:
        # A name is resolved (and its absence explained) when a job needs it; a path can be checked here and now.
        if os.sep in value and not Path(value).expanduser().exists():
            raise ValueError(
                f"nothing at {value}; give a ggml file, a folder in faster-whisper's format, or a model name "
                "(`stt models list`)"
            )
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        prefix, secret = WEBHOOK_SECRET_PREFIX, value.get_secret_value()
        try:
            key = base64.b64decode(secret.removeprefix(prefix), validate=True)
            if not secret.startswith(prefix) or len(key) not in _WEBHOOK_KEY_BYTES:
                raise ValueError(f"no {prefix}, or {len(key)} bytes")
        except ValueError as error:  # no Base64, too
            raise ValueError(f"must be {prefix} and the Base64 of 24 to 64 random bytes") from error
        return value

    @field_validator("webhook_allow", "source_url_allow", "quality_errors", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("backfill_sources", mode="before")
    @classmethod
    def _read_sources(cls, value: object) -> object:
        try:
            return json.loads(value or "[]") if isinstance(value, str) else value
        except json.JSONDecodeError as error:
            raise ValueError(f"must be a JSON list of objects: {error}") from error

    @field_validator("whisper_language")
    @classmethod
    def _check_language(cls, value: str) -> str:
        try:
            return check_language(value)
        except UnknownLanguageError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        path = Path(self.whisper_model).expanduser()
        if os.sep in self.whisper_model and self.whisper_engine == ("whisper.cpp" if path.is_dir() else "ctranslate2"):
            kind = "a folder, for ctranslate2" if path.is_dir() else "a file, for whisper.cpp"
            raise ValueError(f"WHISPER_MODEL is {kind}, and WHISPER_ENGINE is {self.whisper_engine}")
        return self

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        if self.mongodb_min_pool_size > self.mongodb_max_pool_size:
            raise ValueError("MONGODB_MIN_POOL_SIZE must not exceed MONGODB_MAX_POOL_SIZE")
        if overlap := find_overlap(self.backfill_sources):
            raise ValueError(f"BACKFILL_SOURCES: {overlap[1].name} lies within {overlap[0].name}")
        for source in self.backfill_sources:
            if source.prefix.startswith(self.own_prefixes(source.bucket)):
                raise ValueError(f"BACKFILL_SOURCES: {source.name} is where our own objects lie")
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # An address can hold a password too.
        for name, value in super().__repr_args__():
            yield name, mask_secrets(value) if isinstance(value, str) else value

    def own_prefixes(self, bucket: str) -> tuple[str, ...]:
        """Return what the keys of our own objects in a bucket begin with, which are nobody's recordings."""
        places = (
            (source.bucket, *source.output_place(self.minio_bucket, self.backfill_output_prefix))
            for source in self.backfill_sources
        )
        outputs = (f"{prefix}{source_bucket}/" for source_bucket, to_bucket, prefix in places if to_bucket == bucket)
        own = (*object_keys.OF_JOBS, object_keys.CHUNK_RESULTS) if bucket == self.minio_bucket else ()
        return (*outputs, *own)

    @property
    def api_url(self) -> str:
        """Address under which clients reach the REST API."""
        host = "127.0.0.1" if self.stt_api_host in ("0.0.0.0", "::") else self.stt_api_host
        return (self.stt_api_url or f"http://{host}:{self.stt_api_port}").rstrip("/")

    @property
    def dagster_url(self) -> str:
        """Address under which people reach the Dagster UI."""
        return (self.stt_dagster_url or f"http://127.0.0.1:{self.stt_dagster_port}").rstrip("/")

    @property
    def dagster_login(self) -> tuple[str, str] | None:
        """User and password of the Dagster UI; None where it asks for none."""
        password = self.stt_dagster_password
        return (DAGSTER_USER, password.get_secret_value()) if password else None


def load_settings() -> Settings:
    """Read and validate the settings from the environment and `.env`.

    Raises:
        ConfigurationError: A variable is missing or wrong; the message names each one and how to mend it.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        problems = [_explain(item) for item in error.errors(include_url=False)]
        raise ConfigurationError(
            "Wrong configuration. " + "; ".join(problems) + ".",
            mend="Set the variable in the environment or in .env; .env.example explains each one.",
        ) from None  # pydantic's own text repeats the values, secrets too
    logger.info("settings loaded: mongodb_url={}", mask_secrets(settings.mongodb_url))
    logger.debug("settings: {!r}", settings)
    return settings


def former_settings() -> dict[str, str]:
    """Return the variables that are set, in the environment or `.env`, and mean nothing any more: what does instead."""
    file = Settings.model_config.get("env_file")
    given = {name.upper() for name in (*os.environ, *(dotenv_values(str(file)) if file else ()))}
    return {name: instead for name, instead in _FORMER.items() if name in given}


def _explain(item: ErrorDetails) -> str:
    reason = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:  # a rule about several variables, which its text names
        return reason
    variable = str(item["loc"][0]).upper()
    is_secret = any(part in variable for part in ("PASSWORD", "SECRET", "ACCESS_KEY"))
    return f"{variable}: {reason} (got {'***' if is_secret else mask_secrets(repr(item['input']))[:120]})"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, loaded at the first call."""
    return load_settings()
