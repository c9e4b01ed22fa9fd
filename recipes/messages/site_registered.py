import asyncio

from aiohttp import web


async def main():
    runner = web.AppRunner(web.Application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        await site.start()
    finally:
        await runner.cleanup()


asyncio.run(main())
