"""Rules of sessions, connectors and other things that are opened."""

import ast
import re
from collections.abc import Iterator

from cookbook.doctor.module import (
    APPLICATION,
    SESSION,
    Function,
    Module,
    has_argument,
)
from cookbook.doctor.rule import Found, rule

MADE_IN_A_LOOP = {
    SESSION,
    "aiohttp.TCPConnector",
    "aiohttp.UnixConnector",
    "aiohttp.CookieJar",
    "aiohttp.DummyCookieJar",
    "aiohttp.ThreadedResolver",
    "aiohttp.AsyncResolver",
}
"""What asks for the running event loop when it is made."""

REDIS = re.compile(
    r"(?:redis\.asyncio|aioredis)\.(?:from_url|(?:Strict)?Redis(?:\.from_url)?)"
)

OPENED = {SESSION, "aiosqlite.connect", "asyncpg.create_pool"}

CLOSES = {"close", "aclose", "terminate", "detach"}

REQUESTS = {
    *("get", "post", "put", "patch", "delete", "head", "options"),
    *("request", "ws_connect"),
}
"""The methods of a session that send something."""


@rule("event_loop", tests=True)
def made_on_import(module: Module) -> Iterator[Found]:
    """This is made when the file is imported, where no event loop runs.

    aiohttp 3.10 and later raise RuntimeError: no running event loop. Make it in
    a cleanup context.
    """
    inner: set[ast.AST] = set()
    for call in module.all(ast.Call):
        if module.name(call.func) not in MADE_IN_A_LOOP:
            continue
        if not module.runs_on_import(call) or has_argument(call, "loop"):
            continue
        if call not in inner:
            trap = "made_on_import"
            if any(
                isinstance(each, ast.ClassDef) for each in module.above(call)
            ):
                trap = "made_in_a_class_body"
            yield Found(call, trap)
        inner.update(ast.walk(call))  # a connector in the call of a session


@rule("event_loop", tests=True)
def session_outlives_its_loop(module: Module) -> Iterator[Found]:
    """`asyncio.run()` closes its event loop, and this session needs that loop.

    RuntimeError: Event loop is closed. Make the session in a cleanup context.
    """
    for call in module.all(ast.Call):
        match call.args:
            case [ast.Call(func=ast.Name() as made)] if module.name(
                call.func
            ) == "asyncio.run" and module.runs_on_import(call):
                if any(
                    isinstance(node, ast.Return)
                    and module.kind(node.value) == SESSION
                    for function in module.named(made)
                    for node in module.within(function)
                ):
                    yield Found(call, "used_in_a_second_loop")


@rule("parallel_events")
def redis_made_on_import(module: Module) -> Iterator[Found]:
    """A Redis client that is made on import belongs to no application.

    Nobody closes it, and a second event loop, as in tests, meets its old
    connections. Make it in a cleanup context.
    """
    for call in module.all(ast.Call):
        name = module.name(call.func)
        if REDIS.fullmatch(name) and module.runs_on_import(call):
            yield Found(call)


@rule("nested_apps")
def application_for_all_calls(module: Module) -> Iterator[Found]:
    """A default, or a class body, makes one application for all who use it.

    The first that starts it freezes it for the others. Make it in a function.
    """
    for call in module.all(ast.Call):
        if module.name(call.func) == APPLICATION:
            parent = module.parents[call]
            around = module.parents[module.statement(call)]
            if isinstance(parent, ast.arguments) or (
                isinstance(around, ast.ClassDef)
                and isinstance(parent, ast.Assign | ast.AnnAssign)
            ):
                yield Found(call)


@rule("client_session")
def session_per_request(module: Module) -> Iterator[Found]:
    """A session for each request opens a connection for each request.

    Open one session in a cleanup context, and share it.
    """
    functions = module.handlers.union(*map(module.calls, module.handlers))
    for function in functions:
        # A WebSocket takes a connection of its own anyway.
        if _uses(function, "ws_connect"):
            continue
        for call in _opened(module, function):
            shares = has_argument(call, "connector_owner")
            # `loop-argument` tells of the other.
            if not shares and not has_argument(call, "loop"):
                yield Found(call, "session_per_request")


def _opened(module: Module, function: Function) -> Iterator[ast.Call]:
    """Yield where a function opens a session that it closes as well."""
    nodes = module.within(function)
    for node in nodes:
        match node:
            case ast.withitem(context_expr=ast.Call() as call):
                pass
            case ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Call() as call
            ) if _is_closed(nodes, name):
                pass
            case _:
                continue
        if module.name(call.func) == SESSION:
            yield call


def _is_closed(nodes: list[ast.AST], name: str) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "close"
        and isinstance(node.value, ast.Name)
        and node.value.id == name
        for node in nodes
    )


def _uses(function: Function, attribute: str) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr == attribute
        for node in ast.walk(function)
    )


@rule("client_session", tests=True)
def session_used_after_its_end(module: Module) -> Iterator[Found]:
    """The `async with` of this session has ended where it is used.

    RuntimeError: Session is closed. Keep what uses it inside of the block.
    """
    for block in module.all(ast.AsyncWith):
        for item in block.items:
            match item.optional_vars:
                case ast.Name(id=name) if (
                    module.kind(item.context_expr) == SESSION
                    and module.function(block) is not None
                ):
                    mistakes: list[ast.stmt | ast.expr] = [
                        *_returned(module, block, name),
                        *_kept(block, name),
                        *_used_after(module, block, name),
                    ]
                    for node in mistakes:
                        yield Found(node, "used_after_its_end")


def _returned(
    module: Module, block: ast.AsyncWith, name: str
) -> Iterator[ast.stmt]:
    """Yield what returns the session, or a request that nobody has awaited."""
    for node in ast.walk(block):
        if not isinstance(node, ast.Return):
            continue
        match node.value:
            case ast.Name(id=used):
                is_given = used == name
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=used), attr=method)
            ):
                is_given = used == name and method in REQUESTS
            case _:
                continue
        if is_given and module.function(node) is module.function(block):
            yield node


def _kept(block: ast.AsyncWith, name: str) -> Iterator[ast.stmt]:
    """Yield what stores the session where nothing else is done in its block."""
    if all(isinstance(each, ast.Assign) for each in block.body):
        for each in block.body:
            match each:
                case ast.Assign(
                    targets=[ast.Attribute() | ast.Subscript()],
                    value=ast.Name(id=used),
                ) if used == name:
                    yield each


def _used_after(
    module: Module, block: ast.AsyncWith, name: str
) -> Iterator[ast.expr]:
    """Yield the first request behind the block, if there is one."""
    leaves = ast.Return | ast.Raise | ast.Continue | ast.Break
    if isinstance(block.body[-1], leaves):
        return
    for statement in module.following(block):
        for node in ast.walk(statement):
            match node:
                case ast.Name(id=used, ctx=ast.Store()) if used == name:
                    return
        for node in ast.walk(statement):
            match node:
                case ast.Attribute(value=ast.Name(id=used), attr=method) if (
                    used == name and method in REQUESTS
                ):
                    yield node
                    return


@rule("source_address", tests=True)
def empty_source_address(module: Module) -> Iterator[Found]:
    """With an empty address, the system chooses the address."""
    for host, _ in _source_addresses(module):
        if isinstance(host, ast.Constant) and host.value == "":
            yield Found(host, "empty_address")


@rule("source_address", tests=True)
def fixed_source_port(module: Module) -> Iterator[Found]:
    """A fixed source port serves one connection at a time."""
    for _, port in _source_addresses(module):
        match port:
            case ast.Constant(value=int(number)) if number:
                yield Found(port, "fixed_port", "0 lets the system choose")
            case ast.Name(id=name) if name.isupper():
                yield Found(port, "fixed_port", "0 lets the system choose")


def _source_addresses(module: Module) -> Iterator[tuple[ast.expr, ast.expr]]:
    for call in module.all(ast.Call):
        if module.name(call.func) == "aiohttp.TCPConnector":
            for keyword in call.keywords:
                match keyword:
                    case ast.keyword(
                        arg="local_addr", value=ast.Tuple(elts=[host, port])
                    ):
                        yield host, port


@rule("database")
def never_closed(module: Module) -> Iterator[Found]:
    """This is opened before the `yield`, and nothing closes it behind it.

    Its thread, or its socket, outlives the application.
    """
    for function in module.all(ast.AsyncFunctionDef):
        nodes = module.within(function)
        if not any(isinstance(node, ast.Yield) for node in nodes):
            continue
        for node in nodes:
            match node:
                case (
                    ast.Assign(
                        targets=[ast.Name(id=name)], value=ast.Call() as call
                    )
                    | ast.Assign(
                        targets=[ast.Name(id=name)],
                        value=ast.Await(value=ast.Call() as call),
                    )
                ) if module.name(call.func) in OPENED:
                    if not _may_be_closed(nodes, name):
                        yield Found(call, "never_closed")


def _may_be_closed(nodes: list[ast.AST], name: str) -> bool:
    """Return whether something closes it, or is handed it to do so."""
    for node in nodes:
        match node:
            case ast.Attribute(attr=attribute, value=ast.Name(id=used)):
                if used == name and attribute in CLOSES:
                    return True
            case ast.Attribute(attr=attribute, value=ast.Subscript()):
                if (
                    attribute in CLOSES
                ):  # app["db"] = db; ...; app["db"].close()
                    return True
            case ast.Call(args=given):
                if any(
                    isinstance(each, ast.Name) and each.id == name
                    for each in given
                ):
                    return True
            case ast.withitem(context_expr=ast.Name(id=used)) if used == name:
                return True
    return False
