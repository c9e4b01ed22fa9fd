"""Rules of routes and their handlers."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from cookbook.doctor.module import Function, Module
from cookbook.doctor.rule import Found, rule

GUARDS = re.compile(r"auth|log_?in|require|permission|protect|admin|restrict")
"""Names of decorators that let some visitors through."""

WRAPPERS = {"aiohttp_jinja2.template", "aiojobs.aiohttp.atomic"}

OPENS = {"aiohttp.web.FileResponse", "aiofiles.open", "open"}

CHECKS = re.compile(
    r"(?:resolve|(?:is_)?relative_to|startswith|commonpath|normpath|realpath"
    r"|abspath|basename|match|fullmatch|isdigit|isalnum|isidentifier"
    r"|secure_filename|safe_join|UUID)\("
    r"|\.name\b|\bin\b"
)
"""What a handler may check a part of the URL with."""

# A variable of a route that takes slashes as well.
SINK = re.compile(r"\{\w+:(?:\.[*+]|\(\?s:\.[*+]\))\}")


@rule("route_table")
def decorator_above_the_route(module: Module) -> Iterator[Found]:
    """The route takes what stands below it: this decorator does nothing.

    Put the decorator of the route at the top.
    """
    for decorated in module.decorated:
        above: list[ast.expr] = []
        for decorator in decorated.decorator_list:
            if not module.is_route(decorator):
                above.append(decorator)
                continue
            for each in above:
                if _wraps(module, each):
                    yield Found(each, "decorator_above_the_route")
            above = []


def _wraps(module: Module, decorator: ast.expr) -> bool:
    """Return whether a decorator replaces its function, as far as is sure."""
    func = decorator.func if isinstance(decorator, ast.Call) else decorator
    if functions := module.named(func):
        return any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for function in functions
            for node in ast.walk(function)
            if node is not function
        )
    name = ast.unparse(func).rpartition(".")[2]
    return module.name(func) in WRAPPERS or bool(GUARDS.search(name.lower()))


class _Route(NamedTuple):
    table: str
    method: str
    prefix: str
    rest: str


@rule("prefix_sink")
def route_behind_a_sink(module: Module) -> Iterator[Found]:
    """A route above takes all below this prefix: this one gets no request.

    Register it before the sink.
    """
    sinks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for decorated in module.decorated:
        for decorator in decorated.decorator_list:
            route = _route(decorator) if module.is_route(decorator) else None
            if route is None:
                continue
            methods = sinks[route.table, route.prefix]
            if methods & {"*", route.method}:
                yield Found(decorator, "variable_behind_the_sink")
            elif SINK.fullmatch(route.rest):
                methods.add(route.method)


def _route(decorator: ast.expr) -> _Route | None:
    """Return what a decorator registers, where a variable is in its path."""
    match decorator:
        case ast.Call(
            func=ast.Attribute(attr="route", value=table),
            args=[
                ast.Constant(value=str(method)),
                ast.Constant(value=str(path)),
            ],
        ):
            pass
        case ast.Call(
            func=ast.Attribute(attr=method, value=table),
            args=[ast.Constant(value=str(path)), *_],
        ):
            method = "*" if method == "view" else method
        case _:
            return None
    prefix, brace, rest = path.partition("{")
    if not brace:
        return None
    return _Route(ast.unparse(table), method.upper(), prefix, brace + rest)


@rule("prefix_sink")
def tail_as_a_path(module: Module) -> Iterator[Found]:
    """A part of the URL becomes the path of a file: `..%2F` leads out.

    Resolve the path, and check that it is below the folder.
    """
    for function in module.handlers:
        nodes = module.within(function)
        text = ast.unparse(function)
        if not _opens(module, nodes) or CHECKS.search(text):
            continue
        tails = _tails(nodes)
        for node in nodes:
            match node:
                case ast.BinOp(op=ast.Div(), right=tail):
                    parts = [tail]
                case ast.Call(args=[_, *parts]) if (
                    module.name(node.func) == "os.path.join"
                ):
                    pass
                case _:
                    continue
            for part in parts:
                if _is_tail(part, tails):
                    yield Found(part, "tail_as_a_path")


def _opens(module: Module, nodes: list[ast.AST]) -> bool:
    return any(
        isinstance(node, ast.Call)
        and (module.name(node.func) or ast.unparse(node.func)) in OPENS
        for node in nodes
    )


def _tails(nodes: list[ast.AST]) -> set[str]:
    """Return the names for what the URL has said."""
    names = set()
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if _is_tail(value, set()):
                    names.add(name)
    return names


def _is_tail(node: ast.expr, names: set[str]) -> bool:
    match node:
        case ast.Name(id=name):
            return name in names
        case (
            ast.Subscript(value=ast.Attribute(attr="match_info"))
            | ast.Call(
                func=ast.Attribute(
                    attr="get", value=ast.Attribute(attr="match_info")
                )
            )
        ):
            return True
    return False


@rule("nested_apps")
def one_prefix_twice(module: Module) -> Iterator[Found]:
    """Of two applications on one prefix, the second gets no request."""
    seen: set[tuple[Function | None, str, str]] = set()
    for call in module.all(ast.Call):
        match call:
            case ast.Call(
                func=ast.Attribute(attr="add_subapp", value=owner),
                args=[ast.Constant(value=str(prefix)), *_],
            ):
                place = (
                    module.function(call),
                    ast.unparse(owner),
                    prefix.rstrip("/"),
                )
                if place in seen:
                    yield Found(call, "one_prefix_twice")
                seen.add(place)
