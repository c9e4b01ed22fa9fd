"""The shape that the FAQ of aiohttp gives: a logout waits for all closes."""

import asyncio
from collections import defaultdict

from aiohttp import WSMsgType, web

from benchmarks.serve import serve

Sockets = defaultdict[str, set[web.WebSocketResponse]]
SOCKETS = web.AppKey("SOCKETS", Sockets)


def user_of(request: web.Request) -> str:
    return request.cookies["user"]


async def log_in(request: web.Request) -> web.Response:
    user = (await request.json())["user"]
    response = web.json_response({"user": user})
    response.set_cookie("user", user)
    return response


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    user = user_of(request)
    await ws.prepare(request)
    sockets = request.app[SOCKETS][user]
    sockets.add(ws)
    try:
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
    finally:
        sockets.remove(ws)
    return ws


async def log_out(request: web.Request) -> web.Response:
    sockets = request.app[SOCKETS][user_of(request)]
    closers = [ws.close() for ws in sockets if not ws.closed]
    await asyncio.gather(*closers)
    return web.json_response({"closed": len(closers)})


if __name__ == "__main__":
    app = web.Application()
    app[SOCKETS] = Sockets(set)
    app.router.add_post("/login", log_in)
    app.router.add_get("/echo", echo)
    app.router.add_post("/logout", log_out)
    serve(app)
