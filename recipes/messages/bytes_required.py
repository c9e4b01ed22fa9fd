import asyncio
import socket


async def main():
    here, there = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=here)
    try:
        writer.write("text")
        # cure: writer.write(b"text")
    finally:
        writer.close()
        await writer.wait_closed()
        there.close()


asyncio.run(main())
