"""Proofs for the projects that a page offers: what `new` would write."""

import asyncio
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from click.testing import CliRunner

import app
from cookbook.commands import group
from cookbook.pages.archives import ArchivePage
from cookbook.pages.documents import RENDERING
from cookbook.recipe import Recipe
from recipes import database
from tests.conftest import Serve
from tests.servers import Server


def written(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder.parent).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.unmeasured("`new` has tests of its own")
@pytest.mark.slow("it writes a project for each page")
@pytest.mark.parametrize(
    ("recipe", "production"),
    [
        pytest.param(
            recipe,
            production,
            marks=[]
            if recipe.name == "database"
            else [pytest.mark.full("a project of each kind was written")],
        )
        for recipe in app.COOKBOOK
        for production in (False, True)
        if not production or recipe.production_file.exists()
    ],
)
async def test_a_page_offers_what_new_writes_as_a_zip(
    cookbook_server: Server, recipe: Recipe, production: bool, tmp_path: Path
) -> None:
    path = f"recipes/{'production/' * production}{recipe.name}.zip"
    async with (
        ClientSession(cookbook_server.url) as client,
        client.get("/" + path) as response,
    ):
        assert response.status == 200
        assert response.content_type == "application/zip"
        packed = zipfile.ZipFile(BytesIO(await response.read()))
        page = client.get(recipe.page)
        async with page as shown:
            text = await shown.text()
    assert f'<a href="/{path}" download>' in text
    assert f"uvx aiohttp-cookbook new {recipe.name} my_project\n" in text
    host = f"{cookbook_server.url.host}:{cookbook_server.port}"
    assert f"uv run http://{host}/recipes/{recipe.name}.py<" in text
    folder = tmp_path / recipe.name.replace("_", "-")
    option = ["--production"] if production else []
    arguments = ["new", recipe.name, str(folder), *option]
    outcome = await asyncio.to_thread(CliRunner().invoke, group, arguments)
    assert outcome.exit_code == 0
    assert {name: packed.read(name) for name in packed.namelist()} == written(
        folder
    )


async def test_whoever_has_the_zip_gets_a_304(serve: Serve) -> None:
    root = web.Application()
    root[RENDERING] = asyncio.Lock()
    page = ArchivePage(
        Recipe(database, "/database"), "/database.zip", production=False
    )
    root.add_routes(page.routes())
    server = await serve(root)
    async with ClientSession(server.url) as client:
        async with client.get("/database.zip") as response:
            etag = response.headers["ETag"]
        headers = {"If-None-Match": etag}
        async with client.get("/database.zip", headers=headers) as response:
            assert response.status == 304
            assert response.headers["ETag"] == etag
