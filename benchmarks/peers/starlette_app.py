"""As many mounts in Starlette, on uvicorn as in production, with its log.

Run: `python -m benchmarks.peers.starlette_app NUMBER_OF_MOUNTS`.
"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route


async def sink(request: Request) -> JSONResponse:
    """Answer what recipe 3 does."""
    return JSONResponse(
        {
            "method": request.method,
            "tail": request.path_params["tail"],
            "raw_path": request.url.path,
            "query": request.url.query,
        }
    )


if __name__ == "__main__":
    routes = [Route("/path/to/{tail:path}", sink)]
    before = [
        Mount(f"/mount-{number}", routes=routes)
        for number in range(2, int(sys.argv[1]))
    ]
    # Third, as in the cookbook.
    mounts = [*before[:2], Mount("/prefix-sink", routes=routes), *before[2:]]
    uvicorn.run(
        Starlette(routes=mounts),
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http="httptools",
    )
