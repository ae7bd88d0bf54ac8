"""The embedded servers are real, keep what they acknowledged, hide their secrets, and start only where needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from pydantic import SecretStr

from stt_cli.local_stack.home import StackHome, free_port, is_free
from stt_cli.local_stack.processes import Guard
from stt_cli.local_stack.servers import (
    SERVERS,
    EmbeddedMongo,
    EmbeddedRedis,
    EmbeddedS3,
    EmbeddedServer,
    find_redis_server,
    given_variables,
    missing_servers,
)
from stt_core.errors import ExecutableNotFoundError, StoreRefusedError
from stt_core.settings import Settings
from stt_core.stores.database import Database
from stt_core.stores.object_store import ObjectStore
from stt_core.stores.redis_server import RedisServer
from tests.conftest import start_server


@pytest.fixture
def home(tmp_path: Path) -> Iterator[StackHome]:
    home = StackHome.at(tmp_path / "home of the stack")  # a blank in the path must not matter
    with Guard(home):
        yield home


def settings_of(server: EmbeddedServer) -> Settings:
    return Settings.model_validate(server.settings_environment())


def write(server: EmbeddedServer, value: str) -> None:
    settings = settings_of(server)
    match server:
        case EmbeddedRedis():
            RedisServer(settings).client.set("key", value)
        case EmbeddedS3():
            store = ObjectStore(settings)
            store.ensure_bucket()
            store.put_bytes("a/key", value.encode())
        case EmbeddedMongo():
            Database(settings).jobs.insert_one({"_id": "key", "value": value})


def read(server: EmbeddedServer) -> str:
    settings = settings_of(server)
    match server:
        case EmbeddedRedis():
            return str(RedisServer(settings).client.get("key"))
        case EmbeddedS3():
            return ObjectStore(settings).get_bytes("a/key").decode()
        case _:
            return str(Database(settings).jobs.find_one({"_id": "key"})["value"])


@pytest.mark.parametrize("kind", SERVERS)
def test_server_when_killed_and_started_again_then_has_what_it_acknowledged(
    kind: type[EmbeddedServer], home: StackHome
) -> None:
    server = kind(home)
    process = start_server(server)
    write(server, "precious")
    process.kill()
    process.wait()
    assert not server.is_ready()
    start_server(server)
    assert read(server) == "precious"


def test_mongo_when_the_pid_of_a_killed_one_is_anothers_by_now_then_starts(home: StackHome) -> None:
    server = EmbeddedMongo(home)
    server.prepare()
    (server.data / "nx-27017.pid").write_text(str(os.getpid()))
    assert start_server(server).poll() is None


def test_servers_when_running_then_show_no_secret_in_their_command_lines(home: StackHome) -> None:
    processes = [start_server(server) for server in missing_servers(home, {})]
    secrets = [home.secret(name) for name in ("redis", "s3-access", "s3-secret")]
    lines = [" ".join(psutil.Process(process.pid).cmdline()) for process in processes]
    assert len(set(secrets)) == 3
    assert not [secret for secret in secrets for line in lines if secret in line]
    for name in ("secrets.json", "redis/redis.conf"):
        assert stat.S_IMODE((home.path / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_servers_when_running_then_listen_on_loopback_only_and_ask_for_their_password(home: StackHome) -> None:
    redis_server, s3_server, _ = missing_servers(home, {})
    for process in [start_server(redis_server), start_server(s3_server)]:
        connections = psutil.Process(process.pid).net_connections(kind="tcp")
        assert {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=redis_server.port).ping()
    with pytest.raises(StoreRefusedError, match="MINIO_SECRET_KEY"):
        ObjectStore(settings_of(s3_server).model_copy(update={"minio_secret_key": SecretStr("wrong")})).ping()


def test_s3_when_prepared_then_sweeps_broken_uploads_and_nothing_else(home: StackHome) -> None:
    server = EmbeddedS3(home)
    server.prepare()
    (server.data / "bucket").mkdir()
    (server.data / "bucket" / ".rclone_temp_put_x").write_bytes(b"torn")
    (server.data / "bucket" / "kept").write_bytes(b"whole")
    server.prepare()
    assert [path.name for path in (server.data / "bucket").iterdir()] == ["kept"]


def test_port_when_still_free_then_is_remembered_and_else_replaced(home: StackHome) -> None:
    server = EmbeddedRedis(home)
    first = server.port
    assert StackHome.at(home.path).port("redis") == first
    start_server(server)
    assert not is_free(first)
    assert home.port("redis") != first


def test_free_port_when_asked_then_is_outside_the_range_of_outgoing_connections() -> None:
    assert free_port() < 32_768


def test_missing_servers_when_an_address_is_given_then_leaves_that_one_out(home: StackHome) -> None:
    assert [server.name for server in missing_servers(home, {})] == ["redis", "s3", "mongo"]
    given = {"REDIS_HOST": "redis.example", "MONGODB_URL": "mongodb://db.example", "MINIO_ENDPOINT": ""}
    assert [server.name for server in missing_servers(home, given)] == ["s3"]


def test_given_variables_when_in_dotenv_and_environment_then_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("REDIS_HOST=from-file\nMINIO_ENDPOINT=file:9000\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_HOST", "from-environment")
    given = given_variables()
    assert (given["REDIS_HOST"], given["MINIO_ENDPOINT"]) == ("from-environment", "file:9000")


def test_find_redis_server_when_there_is_none_then_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr("stt_cli.local_stack.servers.find_spec", lambda name: None)
    with pytest.raises(ExecutableNotFoundError, match="apt install redis-server"):
        find_redis_server()


def test_secrets_file_when_damaged_then_is_replaced(home: StackHome) -> None:
    (home.path / "secrets.json").write_text("{torn")
    assert len(home.secret("redis")) == 32
    assert home.secret("redis") == home.secret("redis")
