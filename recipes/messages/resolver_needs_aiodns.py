import asyncio

import aiohttp


async def main():
    resolver = aiohttp.AsyncResolver()
    # cure: resolver = aiohttp.ThreadedResolver()
    await resolver.close()


asyncio.run(main())
