import asyncio

from aiohttp import web


async def main():
    app = web.Application()
    web.run_app(app, host="127.0.0.1", port=0)
    # cure: await web.AppRunner(app).setup()


asyncio.run(main())
