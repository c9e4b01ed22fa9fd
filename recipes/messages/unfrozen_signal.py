import asyncio

from aiohttp import web


async def main():
    app = web.Application()
    await app.startup()
    # cure: await web.AppRunner(app).setup()


asyncio.run(main())
