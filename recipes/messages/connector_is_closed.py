import asyncio

from aiohttp import ClientSession


async def answer_never(reader, writer):
    await reader.read()
    writer.close()


async def main():
    server = await asyncio.start_server(answer_never, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        session = ClientSession()
        request = asyncio.create_task(session.get(f"http://{host}:{port}"))
        await asyncio.sleep(0)
        await session.close()
        # cure: request.cancel()
        await asyncio.wait([request])
        print(request)
        await session.close()


asyncio.run(main())
