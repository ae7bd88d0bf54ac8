"""The machine that everything runs on: its disk, its processes, its settings and programs."""

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
