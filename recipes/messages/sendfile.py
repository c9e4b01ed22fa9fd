import asyncio
import io
import socket


async def main():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        await loop.sock_sendfile(ours, io.BytesIO(b"hello"), fallback=False)
        # cure: await loop.sock_sendfile(ours, io.BytesIO(b"hello"))


asyncio.run(main())
