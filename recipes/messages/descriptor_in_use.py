import asyncio
import socket


async def main():
    here, there = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=here)
    try:
        asyncio.get_running_loop().add_reader(here.fileno(), print)
    finally:
        writer.close()
        there.close()


asyncio.run(main())
