"""What programs read: pages as Markdown, all values as JSON, `/llms.txt`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from aiohttp import web

from cookbook.differences import Hunk
from cookbook.docs import Docs
from cookbook.pages.content import Content
from cookbook.pages.curl import HOST
from cookbook.pages.documents import Document, DocumentByHost, Negotiated
from cookbook.pages.rendering import render
from cookbook.pages.speed import Speed
from cookbook.verdicts import Verdicts


class MarkdownPages:
    """The page of a recipe, and that of its production file, as Markdown."""

    def __init__(
        self,
        content: Content,
        read_verdicts: Callable[[], Verdicts],
        read_speed: Callable[[], Speed | None],
    ) -> None:
        self._content = content
        self._read_verdicts = read_verdicts
        self._read_speed = read_speed

    def routes(self, page: DocumentByHost) -> list[web.RouteDef]:
        """Return the routes of the page as well, which is the same in HTML."""
        recipe = self._content.recipe
        markdown = DocumentByHost(
            self._render, "text/markdown", state=lambda: self._content.broken
        )
        both = Negotiated(page, markdown, f"{recipe.page}.md")
        routes = both.routes(recipe.page)
        if recipe.production_file.exists():
            path = f"/recipes/production/{recipe.name}.md"
            production = DocumentByHost(
                self._render_production, "text/markdown"
            )
            routes.append(web.get(path, production.respond))
        return routes

    def _render(self, host: str) -> str:
        return recipe_in_markdown(
            self._content, self._read_verdicts(), self._read_speed(), host
        )

    def _render_production(self, host: str) -> str:
        return production_in_markdown(self._content, host)


def recipe_in_markdown(
    content: Content,
    verdicts: Verdicts,
    speed: Speed | None,
    host: str = HOST,
) -> str:
    """Return the page of a recipe, for a reader who asks `host`."""
    return render(
        "recipe.md",
        cost=speed.sentence(content.module) if speed else "",
        host=host,
        content=content,
        verdicts=verdicts,
        claims=verdicts.of_question(content.number),
    )


def production_in_markdown(content: Content, host: str = HOST) -> str:
    """Return the page of a recipe's production file."""
    return render("production.md", host=host, content=content)


class Programs:
    """`/llms.txt`, and the values of all pages as JSON."""

    def __init__(
        self,
        contents: Sequence[Content],
        read_verdicts: Callable[[], Verdicts],
        count_messages: Callable[[], int],
    ) -> None:
        self.index = Document(self._list_pages, "text/markdown")
        """All pages, as `/llms.txt` lists them."""
        self._contents = contents
        self._read_verdicts = read_verdicts
        self._count_messages = count_messages

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the three."""
        llms = Document(self._list_pages, "text/plain")
        recipes = Document(
            lambda: _dump([_recipe_values(each) for each in self._contents]),
            "application/json",
            state=lambda: [content.broken for content in self._contents],
        )
        verdicts = Document(
            lambda: _dump(_verdict_values(self._read_verdicts())),
            "application/json",
        )
        return [
            web.get("/llms.txt", llms.respond),
            web.get("/recipes.json", recipes.respond),
            web.get("/verdicts.json", verdicts.respond),
        ]

    def _list_pages(self) -> str:
        return render(
            "llms.txt",
            contents=self._contents,
            messages=self._count_messages(),
        )


def _dump(values: object) -> str:
    return json.dumps(values, ensure_ascii=False, indent=1)


def _recipe_values(content: Content) -> dict[str, Any]:
    """Return what the page of a recipe shows."""
    recipe, production = content.recipe, content.production
    return {
        "number": content.number,
        "name": content.module,
        "topic": content.topic,
        "question": content.question,
        "address": recipe.page,
        "markdown": f"{recipe.page}.md",
        "not_served": content.broken,
        **_docs_values(recipe.docs),
        **asdict(content.header),
        "needs": content.needs,
        "answer": content.answer_lines,
        "prefix": content.prefix,
        "endpoints": [asdict(endpoint) for endpoint in content.endpoints],
        "source": content.source,
        "starter_test": content.starter_test,
        "project": content.starter_test and f"{recipe.page}.zip",
        "tests": [test.sentence for test in content.tests],
        "production": production
        and {
            "markdown": f"/recipes/production/{content.module}.md",
            "prefix": production.prefix,
            **_docs_values(production.docs),
            **asdict(production.header),
            "needs": production.needs,
            "source": production.source,
            "difference": _lines_of(production.hunks),
            "tests": [test.sentence for test in production.tests],
        },
        "traps": [
            {
                "name": trap.name,
                "address": f"{recipe.page}#{trap.name}",
                "title": trap.docs.title,
                **_docs_values(trap.docs),
                "pair": trap.pair.relative_to(recipe.file.parent).as_posix(),
                "difference": _lines_of(trap.hunks),
            }
            for trap in content.traps
        ],
        "messages": [f"/errors#{message.name}" for message in content.messages],
    }


def _docs_values(docs: Docs) -> dict[str, object]:
    return {
        "text": docs.text,
        "dialogue": [asdict(step) for step in docs.dialogue],
        "good_to_know": docs.good_to_know,
    }


def _lines_of(hunks: list[Hunk]) -> list[list[str]]:
    return [hunk.lines for hunk in hunks]


def _verdict_values(verdicts: Verdicts) -> dict[str, Any]:
    """Return what the board shows, with what was printed."""
    columns = verdicts.columns.values()
    return {
        "faq": verdicts.faq,
        "edition": verdicts.edition,
        "python": verdicts.python,
        "versions": {column.name: column.version for column in columns},
        "claims": [
            {
                **asdict(claim),
                "address": f"/verdicts#{claim.name}",
                "edition": claim.edition,
                "word": claim.word,
                "cells": {
                    column.name: asdict(column.of_claim(claim))
                    for column in columns
                },
            }
            for claim in verdicts.claims
        ],
        "recipes": {
            module: {
                column.name: asdict(column.of_recipe(module))
                for column in columns
            }
            for module in verdicts.recipes
        },
    }
