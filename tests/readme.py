"""Writes the README's table of the recipes: `make readme`."""

from collections.abc import Iterable

from app import COOKBOOK
from cookbook.recipe import Recipe
from tests.servers import ROOT

README = ROOT / "README.md"
HEAD = "| question | file | page |\n|--|--|--|\n"


def with_table(readme: str, recipes: Iterable[Recipe]) -> str:
    """Return the text with the table of these recipes in place of its own."""
    before, head, rest = readme.partition(HEAD)
    _, end, after = rest.partition("\n\n")
    return before + head + "\n".join(map(row_of, recipes)) + end + after


def row_of(recipe: Recipe) -> str:
    """Return a recipe's question, with links to its file and to its page."""
    file = f"recipes/{recipe.file.name}"
    address = f"http://localhost:8080{recipe.page}"
    return (
        f"| {recipe.docs.title} | [{file}]({file}) "
        f"| [{recipe.page}]({address}) |"
    )


if __name__ == "__main__":
    README.write_text(with_table(README.read_text("utf-8"), COOKBOOK), "utf-8")
