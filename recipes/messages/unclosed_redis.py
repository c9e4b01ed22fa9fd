import asyncio

from redis.asyncio import Redis


async def answer(reader, writer):
    while data := await reader.read(1000):
        writer.write(b"+OK\r\n" * data.count(b"*"))
    writer.close()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    client = Redis(host=host, port=port, protocol=2)
    print(await client.execute_command("PING"))
    # cure: await client.aclose(); await asyncio.sleep(0.01)
    server.close()


asyncio.run(main())
