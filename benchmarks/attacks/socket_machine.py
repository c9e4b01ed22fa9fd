"""Sockets are opened, used, left and closed by logouts in a state machine.

Three users log in, open sockets by cookie or ticket, send text, leave in order
or without a word, and log out, while others of their sockets open. A model of a
set says which are open, and whose.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    DummyCookieJar,
    TCPConnector,
    WSServerHandshakeError,
)
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, multiple, rule

from benchmarks.attacks import Advance, Attack, Found
from benchmarks.attacks._machine import Answer, Machine, ask, close, drive
from tests.servers import forked

LOGGED_OUT = 4001
"""The code of a close."""

AGAIN = 0.01
"""Seconds between two looks at what takes a moment."""


@dataclass
class World:
    client: ClientSession
    requests: int = 0
    sockets: int = 0
    logouts: int = 0


@dataclass
class Login:
    """A session, and both ways to show it."""

    user: str
    cookie: str
    ticket: str
    is_over: bool = False


@dataclass(eq=False)
class Socket:
    user: str
    ws: ClientWebSocketResponse


class Registry(Machine):
    """Which sockets are open."""

    world: World
    logins = Bundle("logins")
    sockets = Bundle("sockets")
    users = st.sampled_from(["ann", "bob", "cy"])

    def __init__(self) -> None:
        super().__init__()
        self.begun = list[Login]()
        self.open = set[Socket]()

    async def end(self) -> None:
        for login in self.begun:
            await self.ask("POST", "/logout", login.cookie)
        for socket in self.open:
            await socket.ws.close()

    async def ask(
        self, method: str, path: str, cookie: str = "", json: object = None
    ) -> Answer:
        self.world.requests += 1
        return await ask(self.world.client, method, path, cookie, json=json)

    async def connect(self, login: Login, by_ticket: bool) -> Socket | None:
        """Return None where the session is no good any more."""
        self.world.requests += 1
        path = f"/echo?ticket={login.ticket}" if by_ticket else "/echo"
        headers = {} if by_ticket else {"Cookie": login.cookie}
        try:
            ws = await self.world.client.ws_connect(path, headers=headers)
        except WSServerHandshakeError as error:
            if error.status != 401:
                raise
            return None
        self.world.sockets += 1
        return Socket(login.user, ws)

    async def count(self) -> None:
        """Wait until the program counts what the model does."""
        users = len({socket.user for socket in self.open})
        expected = {"users": users, "sockets": len(self.open)}
        while (await self.ask("GET", "/sockets")).body != expected:
            await asyncio.sleep(AGAIN)

    def end_all(self, user: str) -> set[Socket]:
        """Log a user out in the model; return the sockets that end."""
        for login in self.begun:
            if login.user == user:
                login.is_over = True
        ended = {socket for socket in self.open if socket.user == user}
        self.open -= ended
        return ended

    @rule(target=logins, user=users)
    def log_in(self, user: str) -> Login:
        answer = self.wait(self.ask("POST", "/login", json={"user": user}))
        assert answer.status == 200, answer
        [cookie] = answer.cookies
        login = Login(user, cookie, answer.body["ticket"])
        self.begun.append(login)
        return login

    @rule(target=sockets, login=logins, by_ticket=st.booleans())
    def open_socket(
        self, login: Login, by_ticket: bool
    ) -> Socket | MultipleResults[Socket]:
        socket = self.wait(self.connect(login, by_ticket))
        if login.is_over:
            assert socket is None, "a session that is over opens a socket"
            return multiple()
        assert socket is not None, "a session opens no socket"
        self.open.add(socket)
        return socket

    @rule(socket=sockets, text=st.text(max_size=9))
    def echo(self, socket: Socket, text: str) -> None:
        if socket in self.open:
            self.wait(self.expect_echo(socket, text))

    async def expect_echo(self, socket: Socket, text: str) -> None:
        await socket.ws.send_str(text)
        message = await socket.ws.receive()
        assert message.data == text, (message, text)

    @rule(socket=sockets, in_order=st.booleans())
    def leave(self, socket: Socket, in_order: bool) -> None:
        if socket in self.open:
            self.open.remove(socket)
            self.wait(self.part(socket, in_order))

    async def part(self, socket: Socket, in_order: bool) -> None:
        """Leave, and wait until the program has noticed."""
        await close(socket.ws, in_order)
        await self.count()

    @rule(login=logins, late=st.integers(0, 3))
    def log_out(self, login: Login, late: int) -> None:
        """Log out, while so many sockets of the same session open."""
        self.wait(self.part_with(login, late))

    async def part_with(self, login: Login, late: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            opening = [
                tasks.create_task(self.connect(login, by_ticket=bool(each % 2)))
                for each in range(late)
            ]
            leaving = tasks.create_task(
                self.ask("POST", "/logout", login.cookie)
            )
        answer = leaving.result()
        opened = [task.result() for task in opening]
        if login.is_over:
            assert answer.status == 401, answer
            assert not any(opened), "a session that is over opens a socket"
            return
        # Each of the late ones was refused, or is closed with the others.
        self.open.update(socket for socket in opened if socket is not None)
        ended = self.end_all(login.user)
        assert answer.body == {"closed": len(ended)}, (answer, len(ended))
        self.world.logouts += 1
        for socket in ended:
            message = await socket.ws.receive()
            assert message.data == LOGGED_OUT, message
        await self.count()


async def attack(root: Path, size: int, seed: int, advance: Advance) -> Found:
    script = root / "recipes" / "websocket_logout.py"
    with TemporaryDirectory() as folder:
        async with (
            forked(script, cwd=Path(folder)) as server,
            ClientSession(
                f"http://127.0.0.1:{server.port}",
                connector=TCPConnector(limit=0),
                cookie_jar=DummyCookieJar(),
            ) as client,
        ):
            world = World(client)
            faults = await drive(Registry, world, size, seed, advance)
    counts = {
        "runs": size,
        "requests": world.requests,
        "sockets": world.sockets,
        "logouts": world.logouts,
    }
    return Found(counts, faults)


ATTACK = Attack(
    attack,
    promises=("R7-1", "R7-3"),
    files=("recipes/websocket_logout.py",),
    unit="runs",
    full=1000,
    small=20,
    longest=2.0,
)
