"""Rules of what aiohttp has deprecated, or taken away."""

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from cookbook.doctor.module import (
    APPLICATION,
    REQUEST,
    SESSION,
    Module,
    has_argument,
)
from cookbook.doctor.rule import Found, rule

WITHOUT_LOOP = {
    SESSION,
    APPLICATION,
    "aiohttp.TCPConnector",
    "aiohttp.UnixConnector",
    "aiohttp.ThreadedResolver",
    "aiohttp.CookieJar",
    "aiohttp.DummyCookieJar",
    *(
        f"asyncio.{name}"
        for name in (
            *("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore"),
            *("Queue", "PriorityQueue", "LifoQueue"),
            *("sleep", "gather", "wait", "wait_for", "shield"),
        )
    ),
}

INSTEAD = {
    "verify_ssl": "ssl=False",
    "ssl_context": "ssl=context",
    "fingerprint": "ssl=aiohttp.Fingerprint(...)",
    "read_timeout": "timeout=aiohttp.ClientTimeout(total=...)",
    "conn_timeout": "timeout=aiohttp.ClientTimeout(connect=...)",
}
"""What replaces an argument of a session, a connector or a request."""

EXPECTS = {"warnings.catch_warnings", "pytest.warns", "pytest.raises"}


@rule("api_stability", tests=True)
def loop_argument(module: Module) -> Iterator[Found]:
    """`loop=` is deprecated, and gone in aiohttp 4.0. Leave it out.

    asyncio has had none since Python 3.10.
    """
    for call in module.all(ast.Call):
        name = module.name(call.func)
        if name not in WITHOUT_LOOP or not has_argument(call, "loop"):
            continue
        # A session does not warn, so nobody can expect it to.
        if name == APPLICATION and _expects_warning(module, call):
            continue
        yield Found(call, "silent_deprecation")


def _expects_warning(module: Module, node: ast.AST) -> bool:
    return any(
        module.called(item.context_expr) in EXPECTS
        for block in module.above(node)
        if isinstance(block, ast.With)
        for item in block.items
    )


@rule("api_stability")
def deprecated(module: Module) -> Iterator[Found]:
    """aiohttp 3 has deprecated this, and aiohttp 4.0 has it no more."""
    for call in module.all(ast.Call):
        name = module.name(call.func)
        match call.func:
            case ast.Attribute(value=owner, attr="make_handler") if (
                module.kind(owner) == APPLICATION
            ):
                yield Found(call, fix="runner = web.AppRunner(app)")
            case ast.Attribute(value=owner) if module.kind(owner) == SESSION:
                name = SESSION
        if name == "aiohttp.BasicAuth":
            yield Found(call, fix="aiohttp.encode_basic_auth(login, password)")
        elif name in {SESSION, "aiohttp.TCPConnector", "aiohttp.request"}:
            for keyword in call.keywords:
                if keyword.arg in INSTEAD:
                    yield Found(keyword, fix=INSTEAD[keyword.arg])
    for attribute in module.all(ast.Attribute):
        if attribute.attr == "loop" and module.kind(attribute.value) in {
            *(APPLICATION, REQUEST, SESSION)
        }:
            yield Found(attribute, fix="asyncio.get_running_loop()")


@rule("api_stability")
def returned_exception(module: Module) -> Iterator[Found]:
    """An HTTPException that is returned is deprecated, and a 500 in 4.0."""
    for function in module.routed:
        for node in module.within(function):
            match node:
                case ast.Return(value=ast.Call(func=func) as call) if (
                    module.name(func).startswith("aiohttp.web.HTTP")
                ):
                    yield Found(node, fix=f"raise {ast.unparse(call)}")


@rule("api_stability")
def old_middleware(module: Module) -> Iterator[Found]:
    """A factory of (app, handler) is a middleware of aiohttp 2.

    It is deprecated, and gone in 4.0. Mark a coroutine by @web.middleware.
    """
    for function in module.all(ast.AsyncFunctionDef):
        names = [argument.arg for argument in function.args.args]
        if names == ["app", "handler"] and module.imports("aiohttp"):
            yield Found(function)


@rule("api_stability")
def no_such_name(module: Module) -> Iterator[Found]:
    """The aiohttp that reads this has no such name."""
    for node in module.all(ast.Attribute):
        package = module.name(node.value)
        if package in {"aiohttp", "aiohttp.web"} and not _has(
            package, node.attr
        ):
            yield Found(node)


def _has(package: str, name: str) -> bool:
    if hasattr(import_module(package), name):
        return True
    # aiohttp.test_utils, which nothing has imported yet
    return package == "aiohttp" and find_spec(f"aiohttp.{name}") is not None
