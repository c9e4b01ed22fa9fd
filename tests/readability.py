"""How dense a source reads, in figures."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

LAYOUT = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}
BLOCKS = (
    ast.AsyncFor,
    ast.AsyncWith,
    ast.For,
    ast.If,
    ast.Match,
    ast.Try,
    ast.While,
    ast.With,
)
COMPREHENSIONS = (ast.DictComp, ast.GeneratorExp, ast.ListComp, ast.SetComp)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Readability:
    """What makes a source hard to read.

    `lines` are lines of code: neither blank, nor a comment, nor a docstring.
    """

    lines: int
    tokens_per_line: float
    longest_function: int
    deepest_nesting: int
    tuple_bindings: list[int]
    """Lines that bind several unrelated values at once."""
    one_letter_names: list[int]
    """Lines that bind a name of one letter, outside of a comprehension."""


def read_source(source: str) -> Readability:
    """Measure a source."""
    tree = ast.parse(source)
    docstrings = set(_docstring_lines(tree))
    lines: set[int] = set()
    tokens = 0
    # Since Python 3.12 an f-string is many tokens. It counts as one, as before.
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        covered = set(range(token.start[0], token.end[0] + 1)) - docstrings
        if token.type not in LAYOUT and covered:
            lines |= covered
            tokens += depth == 0
        kind = tokenize.tok_name[token.type]
        depth += kind.endswith("STRING_START") - kind.endswith("STRING_END")
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return Readability(
        lines=len(lines),
        tokens_per_line=tokens / len(lines),
        longest_function=max(map(_length, functions), default=0),
        deepest_nesting=max(map(_nesting, functions), default=0),
        tuple_bindings=[
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.value, ast.Tuple)
        ],
        one_letter_names=list(_one_letter_names(tree)),
    )


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            match node.body[:1]:
                case [ast.Expr(value=ast.Constant(value=str())) as docstring]:
                    last = docstring.end_lineno or docstring.lineno
                    yield from range(docstring.lineno, last + 1)


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _nesting(node: ast.AST) -> int:
    children = [
        child
        for child in ast.iter_child_nodes(node)
        if not isinstance(child, Function)
    ]
    inner = max(map(_nesting, children), default=0)
    return inner + isinstance(node, BLOCKS)


def _one_letter_names(node: ast.AST) -> Iterator[int]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, COMPREHENSIONS):
            continue
        if (
            isinstance(child, ast.Name)
            and isinstance(child.ctx, ast.Store)
            and len(child.id) == 1
            and child.id != "_"
        ):
            yield child.lineno
        yield from _one_letter_names(child)
