import asyncio


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol)
    # cure: server = await loop.create_server(asyncio.Protocol, port=0)
    server.close()


asyncio.run(main())
