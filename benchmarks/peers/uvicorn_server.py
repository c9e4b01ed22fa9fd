"""uvicorn as in production: uvloop, httptools, no access log."""

import uvicorn
from starlette.applications import Starlette


def serve(app: Starlette) -> None:
    """Run an application of Starlette on a free port."""
    # Its log of level INFO has the address, which `serving` looks for.
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http="httptools",
        access_log=False,
    )
