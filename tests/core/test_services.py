"""The core put together: whether the servers behind it answer."""

from __future__ import annotations

from stt_cli.local_stack.home import free_port
from stt_core.services import Services
from stt_core.settings import Settings


def test_health_when_every_server_runs_says_so_with_latencies(services: Services) -> None:
    health = services.health()

    assert set(health) == {"mongodb", "redis", "object_store"}
    assert all(part.ok and 0 < part.latency_ms < 5000 and part.error is None for part in health.values())


def test_health_when_every_server_is_down_says_which_and_why(settings: Settings) -> None:
    port = free_port()
    services = Services.open(
        settings.model_copy(
            update={
                "mongodb_url": f"mongodb://127.0.0.1:{port}",
                "mongodb_timeout_seconds": 0.2,
                "redis_port": port,
                "minio_endpoint": f"127.0.0.1:{port}",
            }
        )
    )

    health = services.health()

    assert not any(part.ok for part in health.values())
    assert "MONGODB_URL" in (health["mongodb"].error or "")
    assert "REDIS_HOST" in (health["redis"].error or "")
    assert "MINIO_ENDPOINT" in (health["object_store"].error or "")
    services.close()
