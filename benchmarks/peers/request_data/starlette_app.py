"""Starlette with a middleware that stores the id, as the answer does.

It is a pure ASGI one: BaseHTTPMiddleware is slower.
"""

import os

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from benchmarks.peers.uvicorn_server import serve


class SetRequestId:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("X-Request-ID")
        request_id = sent or os.urandom(16).hex()
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


async def read_request_id(request: Request) -> JSONResponse:
    return JSONResponse({"request_id": request.state.request_id})


if __name__ == "__main__":
    serve(
        Starlette(
            routes=[Route("/", read_request_id)],
            middleware=[Middleware(SetRequestId)],
        )
    )
