"""A host's clock that is wrong, as far as the core can see: every moment it writes or compares comes from `utc_now`."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo


def clock_off_by(seconds: float) -> type:
    """Return what takes the place of `stt_core.stores.documents.datetime` on a host whose clock is that far ahead."""

    class Clock:
        @staticmethod
        def now(zone: tzinfo | None = None) -> datetime:
            return datetime.now(zone) + timedelta(seconds=seconds)

    return Clock
