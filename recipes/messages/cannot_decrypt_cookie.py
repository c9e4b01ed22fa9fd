import asyncio

import aiohttp_session
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet


async def handler(request):
    session = await aiohttp_session.get_session(request)
    return web.Response(text=str(session.new))


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    key = Fernet.generate_key().decode()
    aiohttp_session.setup(app, EncryptedCookieStorage(key))
    cookies = {"AIOHTTP_SESSION": "made-with-another-key"}
    # cure: cookies = {}
    async with TestClient(TestServer(app), cookies=cookies) as client:
        await client.get("/")


asyncio.run(main())
