import asyncio

from aiohttp import ClientSession, FormData, web
from aiohttp.test_utils import TestServer


async def main():
    async with (
        TestServer(web.Application()) as server,
        ClientSession() as session,
    ):
        form = FormData()
        form.add_field("photo", b"...", filename="photo.jpg")
        form.add_field("price", 5)
        # cure: form.add_field("price", "5")
        async with session.post(server.make_url("/"), data=form) as response:
            print(response.status)


asyncio.run(main())
