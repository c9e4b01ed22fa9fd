import asyncio
import json

from redis.asyncio import Redis


async def answer(reader, writer):
    while data := await reader.read(1000):
        writer.write(b"+OK\r\n" * data.count(b"*"))
    writer.close()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, Redis(host=host, port=port, protocol=2) as client:
        value = {"answer": 42}
        # cure: value = json.dumps({"answer": 42})
        await client.execute_command("SET", "name", value)


asyncio.run(main())
