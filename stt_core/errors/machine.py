"""The machine that everything runs on: its disk, its processes, its settings, programs and packages."""

from __future__ import annotations

from stt_core.errors.base import PermanentError, TransientError


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


class PackageUnavailableError(TransientError):
    """A file of a Python package could not be fetched: no pip, no index, or no such file there."""

    kind = "package-unavailable"
    expected = True


class PackageInvalidError(PermanentError):
    """A file of a Python package is not the one that is known here, or lacks what it should hold."""

    kind = "package-invalid"
    expected = True
