"""A file of a project as rules see it: its tree, with names and kinds known."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePath
from typing import TypeAlias, TypeVar, cast

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Node = TypeVar("Node", bound=ast.AST)

APPLICATION = "aiohttp.web.Application"
REQUEST = "aiohttp.web.Request"
SESSION = "aiohttp.ClientSession"
ROUTES = "aiohttp.web.RouteTableDef"

UNKNOWN = ""
"""The kind of what a rule must not judge."""

NOTHING = "None"
"""The kind of None, which an attribute may be before it is set."""

KINDS = {
    APPLICATION,
    REQUEST,
    SESSION,
    ROUTES,
    "aiohttp.ClientWebSocketResponse",
    "aiohttp.web.AppRunner",
    "aiohttp.web.StreamResponse",
    "aiohttp.web.TCPSite",
    "aiohttp.web.WebSocketResponse",
}
"""The classes of aiohttp whose objects are followed."""

# aiohttp.client.ClientSession is aiohttp.ClientSession, and so on.
INNER = re.compile(
    r"^aiohttp\.(?:(web)_\w+|client\w*|connector|cookiejar|helpers|resolver)\."
)

METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}
"""What a `web.View` answers, by the names of its methods."""

ADDS = re.compile(
    r"aiohttp\.web\.(?:get|post|put|patch|delete|head|options|view|route)"
    r"|.*\b(?:router|app)\.add_(?:get|post|put|patch|delete|head|options|route)"
)
"""The calls that register a handler: `web.get()`, `router.add_get()` ..."""

SIGNALS = {"on_startup", "on_cleanup", "on_shutdown", "cleanup_ctx"}
"""The lists of an application whose functions take the application."""


class Module:
    """One file. `path` is where it lies in its project."""

    def __init__(self, path: PurePath, tree: ast.Module) -> None:
        self.path = path
        self.functions: list[Function] = []
        self.parents: dict[ast.AST, ast.AST] = {}
        self._nodes: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
        self._owners: dict[ast.AST, Function | None] = {}
        self._within: dict[Function | None, list[ast.AST]] = defaultdict(list)
        self._locals: dict[Function, set[str]] = {}
        self._bound: dict[ast.AST | None, dict[str, list[str]]] = {}
        self._read_nodes(tree)
        self._imports: dict[str, str] = {}
        for statement in self.all(ast.Import):
            for alias in statement.names:
                first = alias.name.partition(".")[0]
                self._imports[alias.asname or first] = (
                    alias.name if alias.asname else first
                )
        for origin in self.all(ast.ImportFrom):
            package = "." * origin.level + (origin.module or "")
            for alias in origin.names:
                full = f"{package}.{alias.name}"
                self._imports[alias.asname or alias.name] = full

    def _read_nodes(self, tree: ast.Module) -> None:
        """Visit each node once, in the order of the file, without recursion."""
        pending: list[tuple[ast.AST, Function | None]] = [(tree, None)]
        while pending:
            node, owner = pending.pop()
            self._nodes[type(node)].append(node)
            self._owners[node] = owner
            self._within[owner].append(node)
            children = list(ast.iter_child_nodes(node))
            body: set[ast.AST] = set()
            inner = owner
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions.append(node)
                body = set(node.body)
                inner = node
            for child in reversed(children):
                self.parents[child] = node
                pending.append((child, inner if child in body else owner))

    def all(self, kind: type[Node]) -> list[Node]:
        """Return the nodes of a type, in the order of the file."""
        return cast(list[Node], self._nodes[kind])

    @cached_property
    def is_test(self) -> bool:
        """Whether the file belongs to the tests of its project."""
        return any(
            re.match(r"tests?$|testing$|test_|conftest|.*_test\.py$", part)
            for part in self.path.parts
        )

    def imports(self, package: str) -> bool:
        """Return whether the file imports a package, or something of it."""
        return any(
            f"{origin}.".startswith(f"{package}.")
            for origin in self._imports.values()
        )

    # Where a node stands.

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around a node, the nearest first."""
        while parent := self.parents.get(node):
            yield parent
            node = parent

    def statement(self, node: ast.AST) -> ast.stmt:
        """Return the statement that a node is part of."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def function(self, node: ast.AST) -> Function | None:
        """Return the function whose call runs this node.

        A decorator, a default and an annotation run where the function is
        defined.
        """
        return self._owners.get(node)  # an annotation in quotes has none

    def within(self, function: Function | None) -> list[ast.AST]:
        """Return what a call of a function runs, or the import of the file.

        What the functions in it run is left out.
        """
        return self._within[function]

    def runs_on_import(self, node: ast.AST) -> bool:
        """Return whether the import of the file runs this node."""
        return self.function(node) is None and not any(
            isinstance(parent, ast.Lambda | ast.GeneratorExp)
            for parent in self.above(node)
        )

    def following(self, statement: ast.stmt) -> Iterator[ast.stmt]:
        """Yield what a function runs after a statement of its own.

        That is the rest of its block, and of the blocks around it.
        """
        function = self.function(statement)
        child: ast.AST = statement
        while child is not function:
            parent = self.parents[child]
            for name in ("body", "orelse", "finalbody"):
                block = getattr(parent, name, None)
                if isinstance(block, list) and child in block:
                    yield from block[block.index(child) + 1 :]
            child = parent

    # What a name means.

    def name(self, node: ast.AST) -> str:
        """Return the full name of what an expression has imported, or ''.

        `CS` is aiohttp.ClientSession after
        `from aiohttp import ClientSession as CS`.
        """
        rest: list[str] = []
        while isinstance(node, ast.Attribute):
            rest.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        origin = self._imports.get(node.id)
        if origin is None or self.is_local(node):
            return ""
        return INNER.sub(
            lambda found: "aiohttp.web." if found[1] else "aiohttp.",
            ".".join([origin, *rest]),
        )

    def called(self, node: ast.AST) -> str:
        """Return the full name of what a call or a decorator calls."""
        return self.name(node.func if isinstance(node, ast.Call) else node)

    def is_local(self, name: ast.Name) -> bool:
        """Return whether a function around a name binds it."""
        function = self.function(name)
        while function:
            if name.id in self._names_of(function):
                return True
            function = self.function(function)
        return False

    def _names_of(self, function: Function) -> set[str]:
        """Return the names that a function binds, but for its imports."""
        if function not in self._locals:
            self._locals[function] = {
                *(argument.arg for argument in arguments(function)),
                *(target.id for target in self._targets(function)),
            }
        return self._locals[function]

    def _targets(self, scope: Function | None) -> list[ast.Name]:
        """Return where a scope binds a name of its own."""
        outside: set[str] = set()
        targets = []
        for node in self.within(scope):
            if isinstance(node, ast.Global | ast.Nonlocal):
                outside.update(node.names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                targets.append(node)
        return [
            target
            for target in targets
            if target.id not in outside
            and not isinstance(
                self.parents[self.statement(target)], ast.ClassDef
            )
        ]

    # What an object is.

    def kind(self, node: ast.AST | None) -> str:
        """Return the class of what an expression is, or ''."""
        match node:
            case ast.Constant(value=None):
                return NOTHING
            case ast.Await(value=value):
                return self.kind(value)
            case ast.Call(func=ast.Attribute(attr="ws_connect")):
                return "aiohttp.ClientWebSocketResponse"
            case ast.Call(func=func):
                name = self.name(func)
                return name if name in KINDS else self._kind_of_result(func)
            case ast.Name():
                return self._kind_of_name(node)
            case ast.Attribute(attr="app", value=value) if (
                self.kind(value) == REQUEST
            ):
                return APPLICATION
            case ast.Attribute(value=ast.Name(id="self")):
                return self._kind_of_attribute(node)
        return UNKNOWN

    def _kind_of_result(self, func: ast.expr) -> str:
        """Return what the functions of a name in this file say they return."""
        return _only(
            [
                self._kind_of_annotation(function.returns)
                for function in self.named(func)
                if function.returns
            ]
        )

    def bindings(self, scope: Function | None) -> dict[str, list[str]]:
        """Return the kinds that each name of a scope is bound to."""
        if scope not in self._bound:
            # What a value is depends on the names that are bound before it.
            found: dict[str, list[str]] = defaultdict(list)
            self._bound[scope] = found
            for argument in arguments(scope) if scope else []:
                kind = self._kind_of_argument(argument, scope)
                found[argument.arg].append(kind)
            for target in self._targets(scope):
                found[target.id].append(self._kind_of_target(target))
        return self._bound[scope]

    def _kind_of_name(self, node: ast.Name) -> str:
        scope = self.function(node)
        while scope and node.id not in self.bindings(scope):
            scope = self.function(scope)
        return _only(self.bindings(scope).get(node.id, []))

    def _kind_of_argument(
        self, argument: ast.arg, function: Function | None
    ) -> str:
        if argument.annotation:
            return self._kind_of_annotation(argument.annotation)
        if function in self._takes_application:
            return APPLICATION
        return REQUEST if self._is_request(argument) else UNKNOWN

    def _is_request(self, argument: ast.arg) -> bool:
        """Return whether an argument is a request: its annotation, or name."""
        if argument.annotation:
            return self._kind_of_annotation(argument.annotation) == REQUEST
        return argument.arg == "request" and self.imports("aiohttp.web")

    def _kind_of_target(self, target: ast.AST) -> str:
        match self.parents[target]:
            case ast.Assign(targets=[_], value=value):
                return self.kind(value)
            case ast.AnnAssign(annotation=annotation):
                return self._kind_of_annotation(annotation)
            case ast.withitem(context_expr=value) | ast.NamedExpr(value=value):
                return self.kind(value)
        return UNKNOWN

    def _kind_of_annotation(self, annotation: ast.expr) -> str:
        match annotation:
            case ast.Constant(value=str(text)):
                try:
                    quoted = ast.parse(text, mode="eval").body
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    return UNKNOWN
                return self._kind_of_annotation(quoted)
            case ast.Subscript(value=value, slice=inner) if (
                self.name(value) == "typing.Optional"
            ):
                return self._kind_of_annotation(inner)
            case ast.BinOp(left=left, right=ast.Constant(value=None)):
                return self._kind_of_annotation(left)
        name = self.name(annotation)
        return name if name in KINDS else UNKNOWN

    def _kind_of_attribute(self, node: ast.Attribute) -> str:
        owner = self._class_of(node)
        if owner is None:
            return UNKNOWN
        if node.attr == "request" and self._is_view(owner):
            return REQUEST
        if owner not in self._bound:
            found: dict[str, list[str]] = defaultdict(list)
            self._bound[owner] = found
            for each in ast.walk(owner):
                match each:
                    case ast.Attribute(
                        value=ast.Name(id="self"), ctx=ast.Store()
                    ):
                        found[each.attr].append(self._kind_of_target(each))
        return _only(self._bound[owner].get(node.attr, []))

    def _class_of(self, node: ast.AST) -> ast.ClassDef | None:
        for parent in self.above(node):
            if isinstance(parent, ast.ClassDef):
                return parent
        return None

    # Who serves requests.

    def named(self, node: ast.AST) -> list[Function]:
        """Return the functions of this file that an expression names."""
        match node:
            case ast.Name(id=name):
                owner = None
            case ast.Attribute(attr=name, value=ast.Name(id="self")):
                owner = self._class_of(node)
            case _:
                return []
        return [
            function
            for function in self._by_name[name]
            if self._class_of(function) is owner
        ]

    @cached_property
    def _by_name(self) -> dict[str, list[Function]]:
        found: dict[str, list[Function]] = defaultdict(list)
        for function in self.functions:
            found[function.name].append(function)
        return found

    def defines(self, name: str) -> bool:
        """Return whether the file has a function or method of a name."""
        return name in self._by_name

    @cached_property
    def decorated(self) -> list[Function | ast.ClassDef]:
        """What may have decorators, in the order of the file."""
        found = [*self.functions, *self.all(ast.ClassDef)]
        return sorted(found, key=lambda each: each.lineno)

    def is_route(self, decorator: ast.AST) -> bool:
        """Return whether a decorator is a route of a `RouteTableDef`."""
        match decorator:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=table))):
                return table in self._tables or (
                    table.endswith("routes")
                    and table in self._imports
                    and self.imports("aiohttp.web")
                )
        return False

    @cached_property
    def _tables(self) -> set[str]:
        """The names of the tables of routes that the file makes."""
        found = set()
        for node in self.all(ast.Assign):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    if self.called(value) == ROUTES:
                        found.add(name)
        return found

    def _is_view(self, owner: ast.AST) -> bool:
        return isinstance(owner, ast.ClassDef) and any(
            self.name(base) == "aiohttp.web.View" for base in owner.bases
        )

    @cached_property
    def middlewares(self) -> set[Function]:
        """The functions that are marked as a middleware."""
        return {
            function
            for function in self.functions
            for decorator in function.decorator_list
            if self.called(decorator) == "aiohttp.web.middleware"
        }

    @cached_property
    def routed(self) -> set[Function]:
        """The functions that answer a request, as far as this file tells.

        A route names them, or they take a request and nothing else.
        """
        found = {
            function
            for function in self.functions
            if any(self.is_route(each) for each in function.decorator_list)
            or (
                function.name in METHODS
                and self._is_view(self.parents[function])
            )
            or self._takes_a_request_alone(function)
        }
        if not self.imports("aiohttp"):
            return found
        for call in self.all(ast.Call):
            if ADDS.fullmatch(self._text(call.func)):
                for argument in call.args:
                    found.update(self.named(argument))
        return found

    def _takes_a_request_alone(self, function: Function) -> bool:
        given = [each for each in arguments(function) if each.arg != "self"]
        return (
            isinstance(function, ast.AsyncFunctionDef)
            and len(given) == 1
            and self._is_request(given[0])
        )

    def _text(self, func: ast.expr) -> str:
        """Return the full name of what is called, or the text `x.add_...`."""
        if isinstance(func, ast.Attribute) and func.attr.startswith("add_"):
            return ast.unparse(func)
        return self.name(func)

    @cached_property
    def handlers(self) -> set[Function]:
        """The coroutines that work for one request, middlewares too."""
        given = {
            function
            for function in self.functions
            for argument in arguments(function)
            if self._is_request(argument)
        }
        return {
            function
            for function in given | self.routed | self.middlewares
            if isinstance(function, ast.AsyncFunctionDef)
        }

    @cached_property
    def _takes_application(self) -> set[Function]:
        """The functions that a signal of an application calls."""
        found: set[Function] = set()
        for call in self.all(ast.Call):
            match call:
                case ast.Call(
                    func=ast.Attribute(
                        attr="append", value=ast.Attribute(attr=signal)
                    ),
                    args=[argument],
                ) if signal in SIGNALS:
                    found.update(self.named(argument))
        return found

    @cached_property
    def helpers(self) -> set[Function]:
        """The functions that this file calls."""
        return {
            function
            for call in self.all(ast.Call)
            for function in self.named(call.func)
        }

    def calls(self, function: Function) -> set[Function]:
        """Return the functions of this file that a function calls."""
        return {
            called
            for node in self.within(function)
            if isinstance(node, ast.Call)
            for called in self.named(node.func)
        }

    def reachable(self, start: set[Function]) -> set[Function]:
        """Return what a call of these functions may run, in this file."""
        found: set[Function] = set()
        pending = list(start)
        while pending:
            function = pending.pop()
            if function not in found:
                found.add(function)
                pending += self.calls(function)
        return found

    def is_coroutine(self, func: ast.expr) -> bool:
        """Return whether a call makes a coroutine of this file, for sure."""
        if isinstance(func, ast.Name) and (
            func.id in self._imports or self.is_local(func)
        ):
            return False
        functions = self.named(func)
        return bool(functions) and all(
            isinstance(function, ast.AsyncFunctionDef)
            and not function.decorator_list
            and not any(
                isinstance(node, ast.Yield) for node in self.within(function)
            )
            for function in functions
        )


def arguments(function: Function) -> list[ast.arg]:
    """Return the named arguments of a function."""
    found = function.args
    return [*found.posonlyargs, *found.args, *found.kwonlyargs]


def has_argument(call: ast.Call, name: str) -> bool:
    """Return whether a call gives a value to a keyword."""
    return any(keyword.arg == name for keyword in call.keywords)


def _only(kinds: list[str]) -> str:
    """Return the kind that all bindings agree upon; None does not count."""
    different = set(kinds) - {NOTHING}
    return different.pop() if len(different) == 1 else UNKNOWN
