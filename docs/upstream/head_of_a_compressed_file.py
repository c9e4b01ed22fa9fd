"""Counts the bytes of the body that aiohttp sends for HEAD, which has none."""

import asyncio

from aiohttp import web

HEAD = (
    b"HEAD / HTTP/1.1\r\nHost: localhost\r\n"
    b"Connection: close\r\nAccept-Encoding: %b\r\n\r\n"
)


async def send_file(request: web.Request) -> web.FileResponse:
    response = web.FileResponse(__file__)
    response.enable_compression()
    return response


async def main() -> None:
    app = web.Application()
    app.router.add_get("/", send_file)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for coding in ("identity", "deflate", "gzip"):
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(HEAD % coding.encode())
        _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        print(coding, len(body))
        writer.close()
    await runner.cleanup()


asyncio.run(main())
