import asyncio


async def hang_up(reader, writer):
    writer.close()


async def main():
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        _, writer = await asyncio.open_connection(host, port)
        while not writer.transport.is_closing():
            writer.write(b"still here")
            await asyncio.sleep(0)
        for _ in range(10):
            writer.write(b"still here")


asyncio.run(main())
