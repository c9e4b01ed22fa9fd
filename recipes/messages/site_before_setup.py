import asyncio

from aiohttp import web


async def main():
    runner = web.AppRunner(web.Application())
    # cure: runner = web.AppRunner(web.Application()); await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await runner.cleanup()


asyncio.run(main())
