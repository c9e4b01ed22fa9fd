import asyncio
from socket import create_server

from aiohttp import web


async def main(port):
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        # cure: await web.TCPSite(runner, "127.0.0.1", 0).start()
    finally:
        await runner.cleanup()


with create_server(("127.0.0.1", 0)) as other:
    asyncio.run(main(other.getsockname()[1]))
