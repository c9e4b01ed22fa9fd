"""Starlette's BackgroundTask."""

import asyncio

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.peers.after_response import WORK
from benchmarks.peers.uvicorn_server import serve

COUNT = {"pings": 0}


async def count_ping() -> None:
    await asyncio.sleep(WORK)
    COUNT["pings"] += 1


async def ping(request: Request) -> JSONResponse:
    return JSONResponse(
        {"message": "PONG"}, background=BackgroundTask(count_ping)
    )


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/ping", ping, methods=["POST"])]))
