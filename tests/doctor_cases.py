"""What each rule of `doctor` finds in a few lines, and what it leaves alone.

A line that a rule finds ends in `# found`. All rules read each text, so none
finds anything in the text of another one.
"""

CASES = {
    "made-on-import": """
import asyncio
import aiohttp as a
from aiohttp import ClientSession as CS, client, connector
session = CS()  # found
other = client.ClientSession(connector=connector.TCPConnector())  # found
with_loop = a.TraceConfig()
later = lambda: CS()
some = (CS() for _ in range(3))
class Client:
    jar = a.CookieJar()  # found
    def __init__(self, session: CS = CS()):  # found
        self.session = session
def open_session(CS=None):
    return CS()
async def main():
    def inner(session=CS()): ...
    return inner
""",
    "session-outlives-its-loop": """
import asyncio
from aiohttp import ClientSession
async def make():
    return ClientSession()
async def work():
    return 1
session = asyncio.run(make())  # found
one = asyncio.run(work())
def main():
    return asyncio.run(make())
""",
    "redis-made-on-import": """
import aioredis
import aiohttp
from redis import asyncio as aredis
from redis.asyncio import Redis
redis = Redis()  # found
other = aredis.from_url("redis://")  # found
async def main():
    return Redis.from_url("redis://")
""",
    "application-for-all-calls": """
from aiohttp import web
app = web.Application()
class Server:
    app = web.Application()  # found
    def __init__(self):
        self.app = web.Application()
def serve(app=web.Application()):  # found
    web.run_app(app)
""",
    "session-per-request": """
from aiohttp import ClientSession, web
routes = web.RouteTableDef()
@routes.get("/")
async def home(request):
    async with ClientSession() as session:  # found
        await session.get("http://a")
    return await fetch(request.app)
async def fetch(app):
    async with ClientSession() as session:  # found
        await session.get("http://a")
    await log_in()
async def log_in():
    async with ClientSession() as session:
        await session.get("http://a")
async def elsewhere():
    async with ClientSession() as session:
        await session.get("http://a")
@routes.get("/chain")
async def chain(request):
    async with ClientSession(connector=POOL, connector_owner=False) as session:
        await session.get("http://a")
@routes.get("/ws")
async def proxy(request):
    async with ClientSession() as session:
        async with session.ws_connect("ws://a") as ws:
            return await ws.receive()
class View(web.View):
    async def get(self):
        async with ClientSession() as session:  # found
            await self.ask(session)
            await self.request.text()
    async def ask(self, session):
        await session.get("http://a")
    async def post(self):
        session = ClientSession()  # found
        await session.get("http://a")
        await session.close()
    async def put(self):
        session = ClientSession()
        self.session = session
""",
    "session-used-after-its-end": """
from aiohttp import ClientSession
async def after():
    async with ClientSession() as session:
        await session.get("http://a")
    await session.get("http://b")  # found
async def returned():
    async with ClientSession() as session:
        return session  # found
async def request():
    async with ClientSession() as session:
        return session.get("http://a")  # found
async def awaited():
    async with ClientSession() as session:
        return await session.get("http://a")
async def closed():
    async with ClientSession() as session:
        return session.closed
async def told():
    async with ClientSession() as session:
        return session.cookie_jar.filter_cookies("http://a")
async def other():
    async with ClientSession() as session:
        def cached(session):
            return session
        return cached
class Client:
    async def open(self):
        async with ClientSession() as session:
            self.session = session  # found
            name = session
    async def run(self):
        async with ClientSession() as session:
            self.session = session
            await self.work()
async def again(session):
    if not session:
        async with ClientSession() as session:
            await session.get("http://a")
            return
    await session.get("http://b")
async def anew():
    async with ClientSession() as session:
        await session.get("http://a")
    print(session.closed)
    session = make()
    await session.get("http://a")
async def nobody():
    async with ClientSession(), ClientSession() as session:
        await session.get("http://a")
    async with other() as session:
        await session.get("http://a")
""",
    "empty-source-address": """
import aiohttp
async def main(port):
    aiohttp.TCPConnector(local_addr=("", 0), limit=1)  # found
    aiohttp.TCPConnector(local_addr=("127.0.0.1", 0))
    aiohttp.TCPConnector(local_addr=port)
""",
    "fixed-source-port": """
import aiohttp
PORT = 4000
async def main(port):
    aiohttp.TCPConnector(local_addr=("127.0.0.1", 80))  # found
    aiohttp.TCPConnector(local_addr=("127.0.0.1", PORT))  # found
    aiohttp.TCPConnector(local_addr=("127.0.0.1", 0))
    aiohttp.TCPConnector(local_addr=("127.0.0.1", port))
""",
    "never-closed": """
import aiosqlite
from aiohttp import ClientSession
async def left_open(app):
    db = await aiosqlite.connect("a")  # found
    app["db"] = db
    yield
    print("end")
async def closed(app):
    db = await aiosqlite.connect("a")
    yield
    db.row_factory = None
    await db.close()
async def closed_by_its_key(app):
    app["db"] = db = await aiosqlite.connect("a")
    other = await aiosqlite.connect("b")
    app["other"] = other
    yield
    app["db"].total
    await app["db"].close()
async def handed_over(stack):
    session = ClientSession()
    stack.push(session)
    yield
async def managed(app):
    session = ClientSession()
    async with lock:
        yield
    async with session:
        yield
async def opened():
    db = await aiosqlite.connect("a")
    return db
""",
    "not-awaited": """
from asyncio import sleep
from typing import Optional
import aiohttp
from aiohttp import web
routes = web.RouteTableDef()
async def echo(request: web.Request):
    ws = web.WebSocketResponse()
    ws.prepare(request)  # found
    async for message in ws:
        ws.send_str(message.data)  # found
        await ws.send_str(message.data)
    ws.force_close()
    return ws
async def end(sockets, file):
    for ws in sockets:
        ws.close()  # found
    for socket in sockets:
        socket.close()
    file.close()
class Client:
    ws = None
    def __init__(self, session: "aiohttp.ClientSession", text: "not python("):
        self.session = session
        self.other: Optional[web.WebSocketResponse] = None
        self.third: web.WebSocketResponse | None = None
        self.ws = None
        self.runner = web.AppRunner(text)
        self.text = text
    async def close(self, number: 3):
        self.session.close()  # found
        self.session.post("http://a")  # found
        self.other.close()  # found
        self.third.close()  # found
        self.runner.cleanup()  # found
        self.text.close()
        self.ws.close()  # found
        number.close()
    async def open(self):
        self.ws = await self.session.ws_connect("ws://a")
        self.ws.send_str("hi")  # found
        with self.ws as also:
            also.close()  # found
    async def work(self, close):
        self.open()  # found
        await self.open()
        broadcast()
        count()  # found
        steps()
        marked()
        close()
        sleep()
        unknown()
async def count(): ...
async def close(): ...
async def sleep(): ...
async def steps():
    yield 1
@asyncio.to_be_told
async def marked(): ...
def broadcast(sockets, names):
    for ws in sockets:
        ws.send_json({})  # found
    names.send_json({})
    ws.send_later({})
    if (new := web.WebSocketResponse()):
        new.close()  # found
    global shared
    shared = web.WebSocketResponse()
    shared.close()
    first, second = web.WebSocketResponse(), 2
    first.close()
self.ws.close()
""",
    "dropped-task": """
import asyncio
class Server:
    async def start(self, group):
        asyncio.create_task(self.work())  # found
        asyncio.ensure_future(self.work())  # found
        self.loop.create_task(self.work())  # found
        asyncio.get_running_loop().create_task(self.work())  # found
        group.create_task(self.work())
        self.task = asyncio.create_task(self.work())
        print(self.task)
    def received(self, loop):
        asyncio.create_task(self.work())  # found
        loop.create_task(self.work())
        loop.run_forever()
""",
    "long-reason": """
from aiohttp import web
async def end(ws, log):
    await ws.close(message=b"%s")  # found
    await ws.close(message=b"short")
    log(message=b"%s")
    await ws.close(message=reason)
""".replace("%s", "x" * 124),
    "live-collection": """
import asyncio
from aiohttp import web
routes = web.RouteTableDef()
clients = []
names = {"ann"}
SOCKETS = web.AppKey("SOCKETS", set)
@routes.get("/ws")
async def ws(request):
    request.app[SOCKETS].discard(1)
    clients.remove(1)
    request.app[USERS].pop(2)
    del request.app[OTHERS][2]
    request.app[NAMES].sort()
async def close(app: web.Application):
    for each in app[SOCKETS]:  # found
        await each.close()
    for each in clients:  # found
        await each.close()
    for _, each in app[USERS].items():  # found
        await each.close()
    for each in app[OTHERS].values():  # found
        await each.close()
    for each in app[NAMES]:
        await each.close()
    for each in app[NAMES]:  # found
        await each.send_json({})
    for each in list(clients):
        await each.close()
    for each in clients:
        print(each)
    clients.append(asyncio.Queue())
    for each in clients:
        await each.put({})
    for ws in names:
        await ws.close()
    for each in app.values[0]:
        await each.close()
class Server:
    async def serve(self, request):
        self.sockets.remove(1)
        self.tasks.remove(1)
        self.others.add(1)
    async def close(self):
        for ws in self.sockets:  # found
            await ws.close()
        for ws in self.others:
            await ws.close()
        for task in self.tasks:
            await task
async def local(clients):
    for each in clients:
        await each.close()
def end(ws):
    ws.close()
""",
    "subscription-per-websocket": """
from aiohttp import web
routes = web.RouteTableDef()
@routes.get("/ws")
async def listen(request):
    ws = web.WebSocketResponse()
    async with request.app[REDIS].pubsub() as pubsub:  # found
        await pubsub.subscribe("a")
    return ws
async def reader(app):
    async with app[REDIS].pubsub() as pubsub:
        await pubsub.subscribe("a")
""",
    "no-origin-check": """
from aiohttp import hdrs, web
from aiohttp_session import get_session
routes = web.RouteTableDef()
@routes.get("/ws")
async def listen(request):  # found
    ws = web.WebSocketResponse()
    print(request.cookies)
    return ws
class Socket(web.View):
    async def get(self) -> web.WebSocketResponse:  # found
        session = await get_session(self.request)
        return await make(self.request)
@routes.get("/checked")
async def checked(request) -> web.WebSocketResponse:
    check(request)
    return await make(request.cookies, request.other.cookies)
def check(request):
    if request.headers["origin"]: ...
@routes.get("/also-checked")
async def also_checked(request) -> web.WebSocketResponse:
    print(request.headers[hdrs.ORIGIN], request.cookies)
@routes.get("/public")
async def public(request) -> web.WebSocketResponse:
    return await make(request.text)
async def helper(request: web.Request) -> web.WebSocketResponse:
    return await make(request.cookies)
async def asked(request):
    check(request)
    return await helper(request)
async def unknown(request) -> web.WebSocketResponse:  # found
    return await make(request.cookies)
""",
    "response-reused": """
import copy
from aiohttp import web
EMPTY = web.Response()  # found
class Handlers:
    MISSING = web.HTTPNotFound()  # found
KIND = web.HTTPNotFound
def json_error(kind, text):
    return kind(text=text)
def refuse(request, error=json_error(web.HTTPForbidden, "no")):
    raise error
GONE = json_error(web.HTTPGone, "gone")
LOST = json_error(web.HTTPGone, "lost")
json_error(web.HTTPGone, "nobody")
def gone():
    raise GONE  # found
def lost():
    if gone:
        return LOST  # found
    return gone
def other():
    raise KIND
@web.middleware
async def cache(request, handler):
    cache[1] = response = await handler(request)
    response = await handler(request)
    kept[request.path] = response  # found
    kept[request.path] = copy.copy(response)  # found
    kept[request.path] = response.body
    kept[request.path] = other
    request["response"] = response
    return response
def not_a_handler(response):
    kept[1] = response
""",
    "work-after-write-eof": """
from aiohttp import web
async def ping(request: web.Request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write_eof()
    print("sent")
    await response.session.close()
    await count(request)  # found
    await count(request)
    return response
async def fine(request: web.Request):
    response = web.StreamResponse()
    if request.path:
        await response.write_eof()
        return response
    try:
        await response.write_eof()
    finally:
        print("sent")
    return await response
async def no_return(request: web.Request):
    await response.write_eof()
async def elsewhere(response):
    await response.write_eof()
    await count()
""",
    "compress-everything": """
from aiohttp import web
@web.middleware
async def compress(request, handler):
    response = await handler(request)
    response.enable_compression()  # found
    return response
@web.middleware
async def checked(request, handler):
    response = await handler(request)
    if response.body is None:
        return response
    response.enable_compression()
    return response
@web.middleware
async def other(request, handler):
    response = await handler(request)
    log.enable_compression()
    return response
async def one_answer(request: web.Request):
    response = await handler(request)
    response.enable_compression()
    return response
""",
    "string-key": """
from aiohttp import web
async def start(app):
    app["db"] = 1  # found
    app["other"] = 1
DB = web.AppKey("DB", int)
app = web.Application()
app.on_startup.append(start)
app.on_startup.append(elsewhere)
app.errors.append(start)
app[DB] = 1
names["app"] = 1
""",
    "application-changed-by-a-request": """
from aiohttp import web
KEY = web.AppKey("KEY", int)
routes = web.RouteTableDef()
@routes.post("/")
async def change(request):
    request.app[KEY] = 1  # found
    app = request.app
    app[KEY] = 2  # found
    request[KEY] = 3
    return app[KEY]
def create_app(app: web.Application):
    app[KEY] = 1
""",
    "request-data-in-the-application": """
from aiohttp import web
STATE = web.AppKey("STATE", dict)
@web.middleware
async def remember(request, handler):
    request.app[STATE]["user"] = request.cookies["user"]  # found
    request.app[STATE]["time"] = now()
    request["user"]["name"] = request.path
    return await handler(request)
""",
    "copied-too-early": """
from aiohttp import web
def create_app():
    app = web.Application()
    sub = web.Application()
    sub[DB] = app[DB]  # found
    return app
def stored():
    app = web.Application()
    app[DB] = open_db()
    sub[DB] = app[DB]
def given():
    app = web.Application()
    open_db(app)
    sub[DB] = app[DB]
def from_elsewhere(app):
    sub[DB] = app[DB]
    sub[DB] = app[OTHER]
async def waited():
    app = web.Application()
    sub[DB] = app[DB]
""",
    "forgeable-session": """
from aiohttp_session import SimpleCookieStorage, setup
setup(app, SimpleCookieStorage())  # found
setup(app, Other())
""",
    "public-key": """
import os
import asyncio
from aiohttp_session.cookie_storage import EncryptedCookieStorage
KEY = PUBLIC = b"Thirty  two  length  bytes  key."
ENDING = ".key"
def storages(key):
    EncryptedCookieStorage(KEY)  # found
    EncryptedCookieStorage("literal")  # found
    EncryptedCookieStorage(key)
    EncryptedCookieStorage()
    EncryptedCookieStorage(os.environ["SESSION_KEY"])
key = os.environ.get("SECRET_KEY", "dev")  # found
key = os.getenv("JWT_SIGNING_KEY", "dev")  # found
key = os.environ.get("SECRET_KEY", "")
key = os.environ.get("SECRET_KEY")
key = os.environ.get("SECRET_KEY", None)
key = os.environ.get("COLOUR", "red")
key = others.get("SECRET_KEY", "dev")
""",
    "warnings-caught-across-await": """
import asyncio
import warnings
async def work():
    with warnings.catch_warnings():  # found
        await asyncio.sleep(1)
    with warnings.catch_warnings(), open("a"):
        old()
    with other:
        await asyncio.sleep(1)
""",
    "decorator-above-the-route": """
import aiohttp_jinja2
from aiohttp import web
from elsewhere import api_routes, docs, login_required
routes = web.RouteTableDef()
def limited(handler):
    async def limit(request):
        return await handler(request)
    return limit
def marked(handler):
    handler.marked = True
    return handler
@login_required  # found
@routes.get("/1")
async def one(request): ...
@aiohttp_jinja2.template("a")  # found
@limited  # found
@marked
@docs(summary="")
@routes.get("/2")
@limited  # found
@routes.get("/3")
async def two(request): ...
@routes.get("/4")
@login_required
async def three(request): ...
@login_required
async def four(request): ...
@login_required  # found
@routes.view("/4")
class View(web.View): ...
@login_required
@other.get("/5")
async def five(request): ...
@login_required  # found
@api_routes.get("/6")
async def six_of_another_file(request): ...
@routes.get
async def six(request): ...
""",
    "route-behind-a-sink": r"""
from aiohttp import web
routes = web.RouteTableDef()
@routes.get("/a/b")
async def first(request): ...
@routes.get("/a/{name}")
async def second(request): ...
@routes.get("/a/{tail:.*}")
async def sink(request): ...
@routes.get("/a/{other}/more")  # found
async def third(request): ...
@routes.post("/a/{other}")
@routes.get("/a/{other}")  # found
async def fourth(request): ...
@routes.view("/b/{tail:.+}")
class View(web.View): ...
@routes.post("/b/{tail}")  # found
async def posted(request): ...
@routes.route("*", "/c/{tail:(?s:.*)}")
async def all(request): ...
@routes.view("/c/{name}")  # found
async def fifth(request): ...
@routes.get("/c/d/{name}")
async def sixth(request): ...
@routes.get(PATH)
async def seventh(request): ...
@other.get("/a/{other}")
async def eighth(request): ...
""",
    "tail-as-a-path": """
import os
import aiofiles
from pathlib import Path
from aiohttp import web
FOLDER = Path("a")
async def direct(request: web.Request):
    return web.FileResponse(FOLDER / request.match_info["name"])  # found
async def by_name(request: web.Request):
    name = request.match_info.get("name")
    kind = "text"
    path = os.path.join(FOLDER, name)  # found
    async with aiofiles.open(path) as file:
        return web.Response(text=await file.read())
async def checked(request: web.Request):
    path = (FOLDER / request.match_info["name"]).resolve()
    if not path.is_relative_to(FOLDER):
        raise web.HTTPNotFound()
    return web.FileResponse(path)
async def listed(request: web.Request):
    if request.match_info["name"] not in FILES:
        raise web.HTTPNotFound()
    return web.FileResponse(FOLDER / request.match_info["name"])
async def address(request: web.Request):
    return await fetch(UPSTREAM / request.match_info["name"])
async def other(request: web.Request):
    kind = kinds.get("kind")
    half(1, 2)
    return web.FileResponse(FOLDER / kind / kinds["a"])
""",
    "one-prefix-twice": """
from aiohttp import web
def create_app(app, other, prefix):
    app.add_subapp("/a", one)
    app.add_subapp("/a/", two)  # found
    app.add_subapp("/b", two)
    other.add_subapp("/a", two)
    app.add_subapp(prefix, two)
    app.add_subapp(prefix, two)
""",
    "loop-argument": """
import asyncio
import aiohttp
from aiohttp import web
import pytest
app = web.Application(loop=1)  # found
web.run_app(app, loop=1)
def test_deprecation():
    with pytest.warns(DeprecationWarning):
        web.Application(loop=1)
        aiohttp.ClientSession(loop=1)  # found
    with open("a"):
        asyncio.Lock(loop=1)  # found
        aiohttp.ThreadedResolver(loop=1)  # found
""",
    "deprecated": """
import aiohttp
from aiohttp import web
async def main(app: web.Application, session: aiohttp.ClientSession):
    app.make_handler()  # found
    aiohttp.BasicAuth("a", "b")  # found
    await session.get("http://a", verify_ssl=False, timeout=1)  # found
    aiohttp.TCPConnector(ssl_context=1)  # found
    print(app.loop)  # found
    print(app.router, app2.loop)
    app2.make_handler()
""",
    "returned-exception": """
from aiohttp import web
routes = web.RouteTableDef()
@routes.get("/")
async def moved(request):
    if request.path == "/":
        return web.HTTPFound("/a")  # found
    return web.Response()
def error():
    return web.HTTPNotFound()
""",
    "old-middleware": """
from aiohttp import web
async def factory(app, handler):  # found
    async def middleware(request):
        return await handler(request)
    return middleware
async def other(app, request): ...
""",
    "no-such-name": """
import aiohttp
from aiohttp import test_utils, web
aiohttp.get("http://a")  # found
aiohttp.ClientTimeout()
aiohttp.test_utils.TestClient
aiohttp.hdrs.VARY
web.WSMsgType.TEXT
web.MsgType.text  # found
web.get("/", 1)
""",
}
