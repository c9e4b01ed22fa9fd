import asyncio
import logging

from aiohttp import web


async def main():
    app = web.Application()
    runner = web.AppRunner(app, access_log_class=logging.Logger)
    # cure: runner = web.AppRunner(app, access_log=logging.getLogger())
    await runner.setup()


asyncio.run(main())
