"""Runs the dialogue of a docstring: a real shell, and real WebSockets."""

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import Close

from cookbook.docs import NOTHING, Step
from cookbook.processes import Process, process_group

STEP_TIMEOUT = 10.0
"""Seconds for a step: twice what curl waits for an answer."""

CURL_TIMEOUT = 5
"""Seconds after which curl gives up, so that a line shows what hangs."""

LOG_INTERVAL = 0.02
"""Seconds between two looks at the log: nothing tells of a new line."""

SILENCE = 1.0
"""Seconds without a frame, or a line in the log, that count as nothing."""

PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where the shell of a dialogue finds its programs, curl among them."""

END = "end-of-output"
"""What the shell prints behind the output of each command."""


class DialogueRunner:
    """Runs steps against localhost:`port`, where `prefix` is the mount's.

    It returns what a step printed as a reader sees it who runs the recipe
    alone: on port 8080, without a prefix.
    """

    def __init__(
        self,
        shell: Process,
        port: int,
        prefix: str,
        log: Collection[str],
        step_timeout: float,
    ) -> None:
        self._shell = shell
        self._address = f"localhost:{port}{prefix}"
        self._prefix = prefix
        self.log = log
        self._patience = step_timeout
        self._websocket: ClientConnection | None = None

    async def run(self, step: Step) -> str:
        """Run a step and return what it printed.

        Where it cannot be run, the reason is returned in brackets.
        """
        try:
            async with asyncio.timeout(self._patience):
                printed = await self._run(step)
        except TimeoutError:
            return f"(no end within {self._patience:g} s)"
        printed = printed.replace("\r", "")
        printed = printed.replace(self._address, "localhost:8080")
        if self._prefix:
            printed = printed.replace(f"{self._prefix}/", "/")
        return printed

    async def play(self, steps: list[Step]) -> str:
        """Run steps up to the first that breaks its promise; return how."""
        for step in steps:
            printed = await self.run(step)
            if not step.pattern.fullmatch(printed):
                return f"{step.text}: {printed!r}, not {step.promised!r}"
        return ""

    async def _run(self, step: Step) -> str:
        if step.kind == "run":
            return await self._run_command(step.text)
        if step.kind == "log":
            return await self._look_for(step.pattern)
        if step.kind == "open":
            await self.leave()
            url = await self._run_command(f'echo "{step.text}"')
            try:
                self._websocket = await connect(url, proxy=None, max_queue=None)
            except (InvalidHandshake, OSError) as error:
                return f"({error})"
            return ""
        if self._websocket is None:
            return "(no WebSocket is open)"
        try:
            if step.kind == "send":
                await self._websocket.send(step.text)
                return ""
            wait = SILENCE if step.text == NOTHING else None
            async with asyncio.timeout(wait):
                return str(await self._websocket.recv())
        except TimeoutError:
            return NOTHING
        except ConnectionClosed as error:
            close = error.rcvd or error.sent or Close(1006, "")
            return f"Connection closed: {close}."

    async def _run_command(self, command: str) -> str:
        command = command.replace("localhost:8080", self._address)
        self._shell.input.write(f"{command}\necho; echo {END}\n".encode())
        output = await self._shell.output.readuntil(f"\n{END}\n".encode())
        return output.decode().removesuffix(f"\n{END}\n").rstrip("\n")

    async def _look_for(self, pattern: re.Pattern[str]) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(SILENCE):
                while True:
                    if match := pattern.search("\n".join(self.log)):
                        return match[0]
                    await asyncio.sleep(LOG_INTERVAL)
        return "(nothing in the log)"

    async def leave(self) -> None:
        """Close the WebSocket, if one is open."""
        if self._websocket is not None:
            await self._websocket.close()


@asynccontextmanager
async def dialogue_runner(
    port: int,
    prefix: str,
    folder: Path,
    *,
    log: Collection[str] = (),
    server: int | None = None,
    step_timeout: float = STEP_TIMEOUT,
    niceness: int = 0,
) -> AsyncIterator[DialogueRunner]:
    """Start a shell that works in `folder`, where cookie jars end up.

    `log` are the lines that the server has written so far, `server` is its
    process: a line of the dialogue may send signals to `$SERVER`. A step is
    given up after `step_timeout` seconds. `niceness` is that of the shell.
    """
    settings = f"silent\nshow-error\nmax-time = {CURL_TIMEOUT}\n"
    await asyncio.to_thread((folder / ".curlrc").write_text, settings)
    group = process_group(
        "/bin/sh",
        cwd=folder,
        env={
            "PATH": PATH,
            "HOME": str(folder),
            "SERVER": str(server or ""),
        },
        niceness=niceness,
    )
    async with group as shell:
        runner = DialogueRunner(shell, port, prefix, log, step_timeout)
        try:
            yield runner
        finally:
            await runner.leave()
