"""Plays the dialogue of a docstring with a real shell and real WebSockets."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from cookbook.recipe import Step
from tests.servers import TIMEOUT

END = "end-of-output"


class Player:
    """Plays steps against localhost:`port`, where `prefix` is the mount's.

    What a step printed is compared in the reader's terms: port 8080, no
    prefix, and `...` for any run of characters.
    """

    def __init__(
        self, shell: asyncio.subprocess.Process, port: int, prefix: str
    ) -> None:
        self._shell = shell
        self._address = f"localhost:{port}{prefix}"
        self._prefix = prefix
        self._websocket: ClientConnection | None = None

    async def play(self, steps: list[Step]) -> None:
        for step in steps:
            async with asyncio.timeout(TIMEOUT):
                printed = await self._play(step)
            expected = step.output.rstrip("\n")
            if step.kind in {"receive", "closed"}:
                expected = step.text
            assert self._matches(printed, expected), (
                f"{step.text}\n  printed  {printed!r}\n  expected {expected!r}"
            )

    async def _play(self, step: Step) -> str:
        if step.kind == "run":
            return await self._run(step.text)
        if step.kind == "open":
            await self.leave()
            url = await self._run(f'echo "{step.text}"')
            self._websocket = await connect(url, proxy=None)
            return ""
        assert self._websocket is not None, "no WebSocket is open"
        if step.kind == "send":
            await self._websocket.send(step.text)
            return ""
        if step.kind == "receive":
            return str(await self._websocket.recv())
        try:
            frame = await self._websocket.recv()
        except ConnectionClosed as error:
            close = error.rcvd or Close(1006, "")
            return f"{close}."
        raise AssertionError(f"still open, and received {frame!r}")

    async def _run(self, command: str) -> str:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        command = command.replace("localhost:8080", self._address)
        self._shell.stdin.write(f"{command}\necho; echo {END}\n".encode())
        output = await self._shell.stdout.readuntil(f"\n{END}\n".encode())
        return output.decode().removesuffix(f"\n{END}\n").rstrip("\n")

    def _matches(self, printed: str, expected: str) -> bool:
        printed = printed.replace("\r", "")
        printed = printed.replace(self._address, "localhost:8080")
        if self._prefix:
            printed = printed.replace(f"{self._prefix}/", "/")
        pattern = ".*?".join(map(re.escape, expected.split("...")))
        return re.fullmatch(pattern, printed, re.DOTALL) is not None

    async def leave(self) -> None:
        if self._websocket is not None:
            await self._websocket.close()


@asynccontextmanager
async def player(port: int, prefix: str, folder: Path) -> AsyncIterator[Player]:
    """A player whose shell works in `folder`, where cookie jars end up."""
    (folder / ".curlrc").write_text("silent\nshow-error\nmax-time = 5\n")
    shell = await asyncio.create_subprocess_exec(
        "/bin/sh",
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    player = Player(shell, port, prefix)
    try:
        yield player
    finally:
        await player.leave()
        # The group: a command that does not end keeps its shell waiting.
        os.killpg(shell.pid, signal.SIGKILL)
        await shell.wait()
