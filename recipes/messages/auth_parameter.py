import asyncio

import aiohttp


async def main():
    headers = {"Authorization": aiohttp.encode_basic_auth("Ann", "secret")}
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth("Ann", "secret")):
        # cure: async with aiohttp.ClientSession(headers=headers):
        pass


asyncio.run(main())
