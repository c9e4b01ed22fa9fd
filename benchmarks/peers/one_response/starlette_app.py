"""Starlette with a BaseHTTPMiddleware that adds the time, as the answer."""

import time

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import (
    BaseHTTPMiddleware,
    RequestResponseEndpoint,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.peers.uvicorn_server import serve


class AddHeader(BaseHTTPMiddleware):
    async def dispatch(
        self, request: Request, call_next: RequestResponseEndpoint
    ) -> Response:
        started = time.monotonic()
        response = await call_next(request)
        took = (time.monotonic() - started) * 1000
        response.headers["Server-Timing"] = f"app;dur={took:.3f}"
        return response


async def greet(request: Request) -> JSONResponse:
    return JSONResponse({"greeting": f"Hello, {request.query_params['name']}!"})


if __name__ == "__main__":
    serve(
        Starlette(
            routes=[Route("/greeting", greet)],
            middleware=[Middleware(AddHeader)],
        )
    )
