"""Proofs for cookbook/pages.py."""

import html
import re
from pathlib import Path

from aiohttp import ClientSession

import app
from cookbook.recipe import question
from tests.conftest import Serve


async def test_the_index_lists_every_question_with_a_link_that_answers(
    serve: Serve, tmp_path: Path
) -> None:
    server = await serve(app.create_app(data_dir=tmp_path))
    async with ClientSession(server.url) as client:
        async with client.get("/") as response:
            page = await response.text()
        assert response.content_type == "text/html"
        links = re.findall('<li><a href="(.*)">(.*)</a>', page)
        assert len(links) == len(app.COOKBOOK)
        for recipe, (address, text) in zip(
            app.COOKBOOK.values(), links, strict=True
        ):
            assert html.unescape(text) == question(recipe)
            async with client.get(address) as response:
                assert response.content_type == "text/plain"
                body = await response.read()
            assert body == Path(str(recipe.__file__)).read_bytes()
