"""How to test a middleware that compresses."""

import pytest
from global_gzip import create_app
from pytest_aiohttp import AiohttpClient

pytestmark = pytest.mark.asyncio


async def test_a_text_is_compressed_for_a_client_that_accepts_gzip(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(create_app(), auto_decompress=False)
    headers = {"Accept-Encoding": "gzip"}
    response = await client.get("/text?size=5000", headers=headers)
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Vary"] == "Accept-Encoding"
    assert len(await response.read()) < 500


@pytest.mark.parametrize("accepted", ["gzip;q=0", "identity"])
async def test_a_client_that_refuses_gzip_gets_the_text(
    aiohttp_client: AiohttpClient, accepted: str
) -> None:
    client = await aiohttp_client(create_app(), auto_decompress=False)
    headers = {"Accept-Encoding": accepted}
    response = await client.get("/text?size=5000", headers=headers)
    assert "Content-Encoding" not in response.headers
    assert len(await response.read()) == 5000
