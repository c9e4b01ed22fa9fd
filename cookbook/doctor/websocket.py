"""Rules of WebSockets, and of coroutines and tasks that nobody waits for."""

import ast
import re
from collections.abc import Iterator

from cookbook.doctor.client import REQUESTS
from cookbook.doctor.module import (
    APPLICATION,
    REQUEST,
    SESSION,
    Function,
    Module,
)
from cookbook.doctor.rule import Found, rule

WEBSOCKET = "aiohttp.web.WebSocketResponse"

SEND = {"send_str", "send_bytes", "send_json"}
RECEIVE = {"receive", "receive_str", "receive_bytes", "receive_json"}

COROUTINES = {
    WEBSOCKET: {"prepare", "close", "ping", "pong", *SEND, *RECEIVE},
    "aiohttp.ClientWebSocketResponse": {
        *("close", "ping", "pong"),
        *SEND,
        *RECEIVE,
    },
    SESSION: {"close", *REQUESTS},
    "aiohttp.web.StreamResponse": {"prepare", "write", "write_eof"},
    "aiohttp.web.AppRunner": {"setup", "cleanup"},
    "aiohttp.web.TCPSite": {"start", "stop"},
}
"""The methods that do nothing until they are awaited."""

# What a WebSocket is called where nothing else tells what it is.
NAME = re.compile(r"(?:^|[._])(?:ws|websocket|socket)$", re.IGNORECASE)

MAX_REASON = 123
"""Bytes of a reason: a control frame holds 125, and the code takes two."""

REMOVES = {"discard", "remove", "pop"}
"""What a handler calls when its client leaves. A WeakSet may do without."""

SESSIONS = {
    "aiohttp_session.get_session",
    "aiohttp_security.authorized_userid",
    "aiohttp_security.check_authorized",
}
"""What reads a cookie for a handler."""


@rule("websocket_logout", tests=True)
def not_awaited(module: Module) -> Iterator[Found]:
    """This makes a coroutine, and nothing runs it. Await it."""
    for statement in module.all(ast.Expr):
        match statement.value:
            case ast.Call(func=func) as call if _is_coroutine(module, func):
                fix = ""
                if isinstance(module.function(call), ast.AsyncFunctionDef):
                    fix = f"await {ast.unparse(call)}"
                yield Found(call, "send_not_awaited", fix)


def _is_coroutine(module: Module, func: ast.expr) -> bool:
    if module.is_coroutine(func):
        return True
    if not isinstance(func, ast.Attribute):
        return False
    if kind := module.kind(func.value):
        return func.attr in COROUTINES.get(kind, set())
    name = ast.unparse(func.value)
    if func.attr == "close":
        # A socket of another library is closed without a coroutine.
        return name == "ws" and any(
            module.called(call) == WEBSOCKET for call in module.all(ast.Call)
        )
    return (
        func.attr in SEND
        and module.imports("aiohttp")
        and not module.defines(func.attr)
        and NAME.search(name) is not None
    )


@rule("after_response")
def dropped_task(module: Module) -> Iterator[Found]:
    """Nothing keeps this task: the end cancels it, and its error is lost.

    The event loop has a weak reference only. Spawn it into a scheduler of
    aiojobs, or keep the task and await it.
    """
    for statement in module.all(ast.Expr):
        match statement.value:
            case ast.Call() as call if _starts_task(module, call):
                yield Found(call, "lost_follow_up")


def _starts_task(module: Module, call: ast.Call) -> bool:
    name = module.name(call.func)
    if name == "asyncio.create_task":
        return True
    # Before the loop runs, a program may well start its main task so.
    if not isinstance(module.function(call), ast.AsyncFunctionDef):
        return False
    match call.func:
        case ast.Attribute(attr="create_task", value=owner):
            text = ast.unparse(owner)
            return re.search(r"(?:^|[._])loop(?:\(\))?$", text) is not None
    return name == "asyncio.ensure_future"


@rule("websocket_logout")
def long_reason(module: Module) -> Iterator[Found]:
    """A reason of more than 123 bytes makes a frame that clients refuse."""
    for keyword in module.all(ast.keyword):
        match keyword:
            case ast.keyword(
                arg="message", value=ast.Constant(value=bytes(reason))
            ) if len(reason) > MAX_REASON:
                match module.parents[keyword]:
                    case ast.Call(func=ast.Attribute(attr="close")):
                        yield Found(keyword, "long_reason")


@rule("websocket_logout")
def live_collection(module: Module) -> Iterator[Found]:
    """Other requests change this collection while the loop awaits.

    A set or a dict raises RuntimeError, and a list skips elements. Loop over a
    copy.
    """
    for loop in module.all(ast.For):
        live = _live(module, loop.iter)
        if (
            live
            and any(_suspends(module, node) for node in ast.walk(loop))
            and _shrinks(module, loop, live)
        ):
            target = ast.unparse(loop.target)
            copied = f"list({ast.unparse(loop.iter)})"
            fix = f"for {target} in {copied}:"
            yield Found(loop, "closing_the_live_set", fix)


def _suspends(module: Module, node: ast.AST) -> bool:
    """Return whether another task may run here."""
    match node:
        case ast.Await(value=ast.Call(func=ast.Attribute(attr="put"))):
            queues = [
                call
                for call in module.all(ast.Call)
                if module.called(call) == "asyncio.Queue"
            ]
            # Without a limit, put() never waits.
            return not queues or any(
                call.args or call.keywords for call in queues
            )
    return isinstance(node, ast.Await)


def _shrinks(module: Module, loop: ast.For, live: str) -> bool:
    """Return whether requests change the collection that a loop is over."""
    holds_websockets = NAME.search(ast.unparse(loop.target)) is not None or any(
        isinstance(node, ast.Attribute) and node.attr in SEND
        for node in ast.walk(loop)
    )
    if not live.startswith("self."):
        in_application = live.startswith("app[")
        return (in_application and holds_websockets) or any(
            _removes(module, node, live)
            for handler in module.handlers
            for node in module.within(handler)
        )
    # It may be one of an object that a single task uses.
    return holds_websockets and any(
        _removes(module, node, live)
        for function in module.all(ast.AsyncFunctionDef)
        for node in module.within(function)
    )


def _live(module: Module, expression: ast.expr) -> str:
    """Return a text for a collection that requests share, or ''."""
    match expression:
        case ast.Call(
            func=ast.Attribute(value=owner, attr="values" | "items" | "keys")
        ):
            return _live(module, owner)
        case ast.Subscript(value=owner, slice=key):
            if module.kind(owner) == APPLICATION:
                return f"app[{ast.unparse(key)}]"
        case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
            return f"self.{attribute}"
        case ast.Name(id=name):
            if name in module.bindings(None) and not module.is_local(
                expression
            ):
                return name
    return ""


def _removes(module: Module, node: ast.AST, live: str) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=owner, attr=attribute)) if (
            attribute in REMOVES
        ):
            return _live(module, owner) == live
        case ast.Subscript(value=owner, ctx=ast.Del()):
            return _live(module, owner) == live
    return False


@rule("parallel_events")
def subscription_per_websocket(module: Module) -> Iterator[Found]:
    """Each WebSocket takes a connection to Redis for its own subscription.

    Subscribe once in a cleanup context, and hand the events to the sockets.
    """
    for function in module.reachable(_websockets(module)):
        for node in module.within(function):
            match node:
                case ast.Call(func=ast.Attribute(attr="pubsub")):
                    yield Found(node, "connection_per_socket")


def _websockets(module: Module) -> set[Function]:
    """Return the handlers that open a WebSocket."""
    return {
        function
        for function in module.handlers
        if (
            function.returns is not None
            and module.name(function.returns) == WEBSOCKET
        )
        or any(
            module.kind(node) == WEBSOCKET for node in module.within(function)
        )
    }


@rule("websocket_logout")
def no_origin_check(module: Module) -> Iterator[Found]:
    """This WebSocket trusts a cookie, and a page of any origin may open it.

    Compare `Origin` with `Host` before the upgrade.
    """
    # What calls a helper may have checked it.
    for function in _websockets(module) & module.routed - module.helpers:
        nodes = [
            node
            for each in module.reachable({function} | module.middlewares)
            for node in module.within(each)
        ]
        if any(_reads_cookie(module, node) for node in nodes) and not any(
            _reads_origin(node) for node in nodes
        ):
            yield Found(function, "no_origin_check")


def _reads_cookie(module: Module, node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="cookies", value=owner):
            return module.kind(owner) == REQUEST
        case ast.Call(func=func):
            return module.name(func) in SESSIONS
    return False


def _reads_origin(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=str(text)):
            return text.lower() == "origin"
        case ast.Attribute(attr="ORIGIN"):
            return True
    return False
