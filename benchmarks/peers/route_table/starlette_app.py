"""Starlette's route with a parameter."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.peers.uvicorn_server import serve


async def read_item(request: Request) -> JSONResponse:
    return JSONResponse({"name": request.path_params["name"]})


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/items/{name}", read_item)]))
