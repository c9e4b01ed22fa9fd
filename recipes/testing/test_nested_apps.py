"""How to test an application that is made to be nested in another."""

import pytest
from aiohttp import web
from nested_apps import create_section
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio


async def test_links_have_the_prefix_of_a_nested_application(
    aiohttp_client: AiohttpClient,
) -> None:
    app = web.Application()
    app.add_subapp("/letters", create_section("letters"))
    client = await aiohttp_client(app)
    response = await client.get("/letters/")
    links = (await response.json())["links"]
    assert links == ["/letters/posts/1", "/letters/posts/2"]


async def test_an_application_explains_its_404_by_itself(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_section("letters"))
    response = await client.get("/posts/3")
    assert response.status == 404
    assert (await response.json())["section"] == "letters"
