"""Rules of responses, middlewares and what an application holds."""

import ast
import re
from collections.abc import Iterator

from cookbook.doctor.module import APPLICATION, REQUEST, Function, Module
from cookbook.doctor.rule import Found, rule

RESPONSES = {
    "aiohttp.web.Response",
    "aiohttp.web.StreamResponse",
    "aiohttp.web.FileResponse",
    "aiohttp.web.json_response",
}

ENDS = {"close", "aclose", "release", "cleanup", "wait_closed", "drain"}
"""What a handler may well await after its answer."""

SECRET = re.compile(
    r"(?:SECRET|SESSION|COOKIE|FERNET|JWT)(?:_\w+)?_KEY|\w*SECRET"
)
"""The variables of the environment whose value must not be known."""


@rule("one_response")
def response_reused(module: Module) -> Iterator[Found]:
    """A response can be sent once: the second client waits forever.

    Make a new one for each request.
    """
    for call in module.all(ast.Call):
        if module.runs_on_import(call):
            if _is_response(module, call.func):
                raised = ".HTTP" in module.name(call.func)
                yield Found(call, _trap(raised))
            elif any(_is_response(module, each) for each in call.args):
                yield from _made_by(module, call)
    for function in module.middlewares:
        yield from _cached(module, function)


def _is_response(module: Module, node: ast.expr) -> bool:
    name = module.name(node)
    return name in RESPONSES or name.startswith("aiohttp.web.HTTP")


def _trap(raised: bool) -> str:
    return "shared_exception" if raised else "cached_response"


def _made_by(module: Module, call: ast.Call) -> Iterator[Found]:
    """Yield where functions send what a helper made on import."""
    match module.parents[call]:
        case ast.Assign(targets=[ast.Name(id=kept)]):
            for function in module.functions:
                for node in module.within(function):
                    match node:
                        case ast.Raise(exc=ast.Name(id=used)) if used == kept:
                            yield Found(node, _trap(raised=True))
                        case ast.Return(value=ast.Name(id=used)) if (
                            used == kept
                        ):
                            yield Found(node, _trap(raised=False))


def _cached(module: Module, function: Function) -> Iterator[Found]:
    """Yield where a middleware keeps the response of a handler."""
    answers = _answers(module, function)
    for node in module.within(function):
        match node:
            case ast.Assign(
                targets=[ast.Subscript(value=owner)],
                value=ast.Name(id=name)
                | ast.Call(
                    func=ast.Attribute(value=ast.Name(id="copy"), attr="copy"),
                    args=[ast.Name(id=name)],
                ) as value,
            ) if name in answers and module.kind(owner) != REQUEST:
                copied = isinstance(value, ast.Call)
                yield Found(
                    node, "copied_response" if copied else "cached_response"
                )


def _answers(module: Module, function: Function) -> set[str]:
    """Return the names for what `await handler(request)` returned."""
    names = set()
    for node in module.within(function):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Await(value=ast.Call(func=ast.Name(id="handler"))),
            ):
                names.add(name)
    return names


@rule("after_response")
def work_after_write_eof(module: Module) -> Iterator[Found]:
    """The answer is out, and this work delays the client's next request.

    Spawn the work into a scheduler, and return.
    """
    for function in module.handlers:
        for node in module.within(function):
            match node:
                case ast.Expr(
                    value=ast.Await(
                        value=ast.Call(func=ast.Attribute(attr="write_eof"))
                    )
                ):
                    for work in _awaited(module, node):
                        yield Found(work, "work_in_the_handler")


def _awaited(module: Module, statement: ast.stmt) -> Iterator[ast.expr]:
    """Yield the first thing that is awaited behind a statement."""
    for each in module.following(statement):
        if isinstance(each, ast.Return):
            return
        for node in ast.walk(each):
            match node:
                case ast.Await(
                    value=ast.Call(func=ast.Attribute(attr=method))
                ) if method in ENDS:
                    continue
                case ast.Await():
                    yield node
                    return


@rule("global_gzip")
def compress_everything(module: Module) -> Iterator[Found]:
    """`enable_compression()` without a check spoils what has an empty body.

    Ask for the type, the size and the status of the response before.
    """
    for function in module.middlewares:
        answers = _answers(module, function)
        for statement in function.body:
            match statement:
                case ast.If() | ast.Try() | ast.Match():
                    break
                case ast.Expr(
                    value=ast.Call(
                        func=ast.Attribute(
                            value=ast.Name(id=name), attr="enable_compression"
                        )
                    )
                ) if name in answers:
                    yield Found(statement, "empty_answer")


@rule("request_data")
def string_key(module: Module) -> Iterator[Found]:
    """A string as the key of an application has no type, and may meet another.

    aiohttp 3.9 and later warn of each. Make a web.AppKey once, and import it.
    This is the first one of the file.
    """
    for node in module.all(ast.Subscript):
        match node:
            case ast.Subscript(
                value=owner, slice=ast.Constant(value=str(key)), ctx=ast.Store()
            ) if module.kind(owner) == APPLICATION:
                name = re.sub(r"\W", "_", key).upper()
                yield Found(node, "", f'{name} = web.AppKey("{name}", ...)')
                return


@rule("request_data")
def application_changed_by_a_request(module: Module) -> Iterator[Found]:
    """An application that serves is frozen: aiohttp warns, and 4.0 raises.

    Keep what belongs to a request in the request. Keep what all share in an
    object that the application has held since its start.
    """
    for node in module.all(ast.Subscript):
        if (
            isinstance(node.ctx, ast.Store)
            and module.function(node) in module.routed | module.middlewares
            and module.kind(node.value) == APPLICATION
        ):
            yield Found(node, "data_in_the_application")


@rule("request_data")
def request_data_in_the_application(module: Module) -> Iterator[Found]:
    """What a middleware stores in the application reaches other requests.

    Store it in the request, under a web.RequestKey.
    """
    for function in module.middlewares:
        for node in module.within(function):
            match node:
                case ast.Assign(
                    targets=[
                        ast.Subscript(
                            value=ast.Subscript(value=owner),
                            slice=ast.Constant(),
                        )
                    ],
                    value=value,
                ) if module.kind(owner) == APPLICATION:
                    if any(
                        module.kind(each) == REQUEST for each in ast.walk(value)
                    ):
                        yield Found(node, "data_in_the_application")


@rule("subapp_database")
def copied_too_early(module: Module) -> Iterator[Found]:
    """Nothing is there to copy yet where the applications are built: KeyError.

    Copy it in a cleanup context, or read it by `request.config_dict`.
    """
    for node in module.all(ast.Assign):
        match node:
            case ast.Assign(
                targets=[ast.Subscript(slice=key)],
                value=ast.Subscript(
                    value=ast.Name(id=name), slice=read
                ) as value,
            ) if ast.unparse(key) == ast.unparse(read):
                function = module.function(node)
                made = module.bindings(function).get(name) == [APPLICATION]
                nodes = module.within(function)
                if (
                    made
                    and isinstance(function, ast.FunctionDef)
                    and not _is_stored(nodes, ast.unparse(value))
                    and not _was_given(nodes, name, node.lineno)
                ):
                    yield Found(node, "copied_too_early")


def _is_stored(nodes: list[ast.AST], text: str) -> bool:
    return any(
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node) == text
        for node in nodes
    )


def _was_given(nodes: list[ast.AST], name: str, line: int) -> bool:
    """Return whether a function got the application before a line."""
    return any(
        isinstance(node, ast.Call)
        and node.lineno < line
        and any(
            isinstance(each, ast.Name) and each.id == name for each in node.args
        )
        for node in nodes
    )


@rule("request_data")
def forgeable_session(module: Module) -> Iterator[Found]:
    """A session in a plain cookie says what the visitor wants it to say.

    Use EncryptedCookieStorage.
    """
    for call in module.all(ast.Call):
        if module.name(call.func) == "aiohttp_session.SimpleCookieStorage":
            yield Found(call, "forgeable_session")


@rule("request_data")
def public_key(module: Module) -> Iterator[Found]:
    """A secret that stands in the source is one that everybody can read.

    Read it from the environment, and let a missing one fail the start.
    """
    for call in module.all(ast.Call):
        name = module.name(call.func)
        match call.args:
            case [key, *_] if name.endswith(".EncryptedCookieStorage"):
                secret = key
            case [ast.Constant(value=str(variable)), default] if name in {
                "os.environ.get",
                "os.getenv",
            } and SECRET.fullmatch(variable):
                secret = default
            case _:
                continue
        if _is_text(module, secret):
            yield Found(secret, "public_key")


def _is_text(module: Module, node: ast.expr) -> bool:
    """Return whether an expression is a text that the file holds."""
    match node:
        case ast.Constant(value=str(text) | bytes(text)):
            return bool(text)
        case ast.Name(id=name):
            return any(
                isinstance(statement.value, ast.Constant)
                and isinstance(target, ast.Name)
                and target.id == name
                and _is_text(module, statement.value)
                for statement in module.all(ast.Assign)
                for target in statement.targets
            )
    return False


@rule("api_stability")
def warnings_caught_across_await(module: Module) -> Iterator[Found]:
    """`catch_warnings` changes the whole process, so other requests too.

    Do not await in it.
    """
    for block in module.all(ast.With):
        for item in block.items:
            if module.called(
                item.context_expr
            ) == "warnings.catch_warnings" and any(
                isinstance(node, ast.Await) for node in ast.walk(block)
            ):
                yield Found(item.context_expr, "catch_warnings_across_await")
