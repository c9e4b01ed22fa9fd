"""How to test a route that takes everything below a prefix."""

import pytest
from prefix_sink import create_app
from pytest_aiohttp import AiohttpClient
from yarl import URL

pytestmark = pytest.mark.asyncio


async def test_the_sink_takes_an_encoded_newline(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    # `encoded` sends the path as it is written here.
    url = URL("/path/to/a%0Ab", encoded=True)
    response = await client.post(url)
    assert (await response.json())["tail"] == "a\nb"


async def test_the_sink_takes_no_method_that_a_page_refuses(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app())
    response = await client.post("/path/to/exact")
    assert response.status == 405
