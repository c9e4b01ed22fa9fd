"""Starlette's GZipMiddleware, at the level of zlib that aiohttp uses too."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.peers.global_gzip.text import text_of
from benchmarks.peers.uvicorn_server import serve


async def send_text(request: Request) -> PlainTextResponse:
    return PlainTextResponse(text_of(int(request.query_params["size"])))


if __name__ == "__main__":
    serve(
        Starlette(
            routes=[Route("/text", send_text)],
            middleware=[Middleware(GZipMiddleware, compresslevel=6)],
        )
    )
