"""Starlette's route with a path."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.peers.uvicorn_server import serve


async def sink(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "method": request.method,
            "tail": request.path_params["tail"],
            "raw_path": request.url.path,
            "query": request.url.query,
        }
    )


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/path/to/{tail:path}", sink)]))
