"""Engines that one can kill, freeze, and bring back at the same address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
from redis.asyncio import Redis

from cookbook.postgres_server import find_postgres, start_postgres, url_of
from cookbook.processes import stop_server
from cookbook.redis_server import start_redis
from tests.servers import TIMEOUT


class KillableRedis:
    """A real Redis that a test can end and bring back at the same URL."""

    def __init__(self, executable: str, folder: Path) -> None:
        self._executable = executable
        self._unix_socket = folder / "redis.sock"
        self.url = f"unix://{self._unix_socket}"
        self.start()

    def start(self) -> None:
        self.process = start_redis(self._executable, self._unix_socket)

    def stop(self) -> None:
        stop_server(self.process)


@asynccontextmanager
async def as_replica(url: str) -> AsyncIterator[None]:
    """Have a Redis be a replica in the block, as after a failover.

    It is left: of the connections that were open before, only those that hear a
    channel may stay.
    """
    async with Redis.from_url(url) as redis, asyncio.timeout(TIMEOUT):
        before = await _connections(redis) - {str(await redis.client_id())}
        assert before
        await redis.replicaof("127.0.0.1", "1")
        yield
        while before & await _connections(redis):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await redis.replicaof("NO", "ONE")


async def _connections(redis: Redis) -> set[str]:
    """Return the ids of all connections but those that hear a channel."""
    all_of_them = await redis.client_list()
    return {each["id"] for each in all_of_them if each["sub"] == "0"}


class KillablePostgres:
    """A real PostgreSQL that a test can end and bring back at the same URL."""

    def __init__(self, folder: Path) -> None:
        programs = find_postgres()
        assert programs
        self._programs = programs
        self.folder = folder
        self.url = url_of(folder)
        self.start()

    def start(self) -> None:
        self.process = start_postgres(self._programs, self.folder)

    def stop(self) -> None:
        """End it in order: what runs is rolled back, clients are told."""
        stop_server(self.process)

    def kill(self) -> None:
        """End it as a crash does; it recovers when it is started."""
        processes = self._processes()
        for process in processes:
            # That of a client which has just left may be gone.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        # A new server refuses to start beside what is left of the old one.
        psutil.wait_procs(processes, timeout=TIMEOUT)
        stop_server(self.process)

    def freeze(self) -> None:
        """Stop it where it is: connections stay open, nothing answers."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _processes(self) -> list[psutil.Process]:
        """Return the server, then one process for each connection, and more."""
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]
