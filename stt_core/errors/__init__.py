"""The errors of the system, as one tree.

Every failure that leaves `stt_core` is an `SttError`, and the first question anybody asks of it is answered by its
branch: a `TransientError` may succeed when tried again unchanged (a server is away, a process was killed), a
`PermanentError` never will (the file is not audio, the model does not exist). Retries, HTTP statuses and dead letters
follow from the branch and the class; nothing else in the code base decides whether to try again.

Each class names its `kind` (stable, part of the API) and the HTTP `status` of its problem document. Each instance says
what is wrong and, as `mend`, what the reader can do about it.

    SttError
      PermanentError
        ForbiddenError, UnauthorizedError, UnexpectedError, EngineStoppedError, ModelChangedError, ModelInvalidError,
        InvalidTransitionError, SupersededError, PackageInvalidError, DatabaseRefusedError, InvalidDocumentError,
        ObjectChangedError, ObjectNotFoundError, QueueRefusedError
        ConfigurationError
          ExecutableNotFoundError
        InvalidInputError
          KeyNotFoundError, BucketMissingError, BucketNotConfiguredError, PartitionNotFoundError, LanguageChoiceError,
          ModelNotFoundError, TranslationUnsupportedError, UnknownLanguageError, JobFailedError, ResultNotReadyError,
          AudioTooLongError,
          EmptyFileError, FileTooLargeError, ForbiddenAddressError, NoAudioError, RecordingGoneError,
          SourceUnavailableError, TrackNotFoundError, UnknownHostError, UnreadableAudioError, UnsupportedFormatError,
          UploadMissingError, IdempotencyMismatchError, NotAcceptableError, RangeNotSatisfiableError
          JobNotFoundError
            JobDeletedError
        StoreRefusedError
          BucketNotFoundError
      TransientError
        RateLimitedError, TooManyUploadsError, DecoderError, EngineError, EngineTimeoutError, MissingChunksError,
        ModelDownloadError, ConflictError, QueueFullError, DiskFullError, PackageUnavailableError,
        PreparedAudioGoneError, RunInterruptedError, BusyError, RequestInProgressError, StillAtWorkError,
        DatabaseUnavailableError, QueueUnavailableError, StoreUnavailableError

A module here is about one noun. Whoever raises or catches an error takes it from the package.
"""

from stt_core.errors.access import *
from stt_core.errors.backfills import *
from stt_core.errors.base import *
from stt_core.errors.engine import *
from stt_core.errors.jobs import *
from stt_core.errors.machine import *
from stt_core.errors.recordings import *
from stt_core.errors.requests import *
from stt_core.errors.servers import *
