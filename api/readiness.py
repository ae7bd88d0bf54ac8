"""Whether the servers behind the API answer, and their preparation once they do."""

from __future__ import annotations

from stt_core.errors import SttError
from stt_core.logs import get_logger
from stt_core.services import DependencyHealth, Services

logger = get_logger(__name__)


class Readiness:
    """Looks at the servers, and creates what they need once (indexes, the bucket) when they are first found up."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._prepared = False
        self._was_ready: bool | None = None

    def check(self) -> dict[str, DependencyHealth]:
        """Ask each server for a sign of life; a change is logged with the name of what is missing."""
        try:
            self.prepare()
        except SttError as error:
            logger.warning("the servers are not prepared yet: {}", error)
        health = self._services.health()
        missing = [f"{name}: {one.error}" for name, one in health.items() if not one.ok]
        if self._was_ready is not (is_ready := not missing):
            self._was_ready = is_ready
            if is_ready:
                logger.info("API is ready: {} answer", ", ".join(health))
            else:
                logger.warning("API is up, but not ready: {}", "; ".join(missing))
        return health

    def require(self) -> None:
        """Raise the error of a server that does not answer, within seconds; Redis is asked by whoever needs it.

        Raises:
            TransientError: A server does not answer.
            PermanentError: A server refuses.
        """
        self._services.database.ping()
        self.prepare()
        self._services.store.ping()

    def prepare(self) -> None:
        """Create the indexes and the bucket unless this process has done so.

        Without a lock: doing it twice changes nothing, while a lock would queue every upload behind a dead server.

        Raises:
            TransientError: A server does not answer.
            PermanentError: A server refuses.
        """
        if not self._prepared:
            self._services.prepare()
            self._prepared = True
