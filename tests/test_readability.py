"""Proofs for tests/readability.py: its figures are those of a reader."""

from tests.readability import read_source

SOURCE = '''"""A docstring
of two lines."""

# A comment.
first = 1


def function():
    """Another."""
    for item in [x for x in range(3)]:
        if item:
            print(item)
'''


def test_docstrings_comments_and_blank_lines_are_no_code() -> None:
    assert read_source(SOURCE).lines == 5


def test_tokens_are_counted_for_each_line_of_code() -> None:
    assert read_source("first = 1\nsecond = [1]\n").tokens_per_line == 4


def test_an_fstring_is_one_token_on_every_python() -> None:
    source = """text = f"a {first} b {f'{second}'} c"\n"""
    assert read_source(source).tokens_per_line == 3


def test_functions_and_blocks_are_measured() -> None:
    figures = read_source(SOURCE)
    assert figures.longest_function == 5
    assert figures.deepest_nesting == 2


def test_an_inner_function_does_not_nest_the_outer_one() -> None:
    source = "def outer():\n    def inner():\n        if 1:\n            pass\n"
    assert read_source(source).deepest_nesting == 1


def test_several_bindings_in_a_statement_are_found() -> None:
    source = "first, second = 1, 2\nthird, fourth = pair\n"
    assert read_source(source).tuple_bindings == [1]


def test_names_of_one_letter_are_found_but_in_a_comprehension() -> None:
    source = "x = 1\n[y for y in range(3)]\n_ = 2\n"
    assert read_source(source).one_letter_names == [1]
