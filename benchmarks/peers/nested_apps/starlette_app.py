"""So many mounts in Starlette."""

import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from benchmarks.peers.uvicorn_server import serve


async def read_post(request: Request) -> JSONResponse:
    post_id = int(request.path_params["id"])
    return JSONResponse({"section": "blog", "id": post_id, "site": None})


if __name__ == "__main__":
    routes = [Route("/posts/{id}", read_post)]
    count = int(sys.argv[1])
    serve(
        Starlette(
            routes=[
                Mount(f"/section-{number}", routes=routes)
                for number in range(1, count + 1)
            ]
        )
    )
