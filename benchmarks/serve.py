"""Serve one recipe alone, as its peers are: on uvloop, without an access log.

Run: `python -m benchmarks.serve MODULE [NAME=VALUE ...]`. What is named is an
option of the module's `create_app`, or `zlib`: the library that compresses.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web


def serve(app: web.Application) -> None:
    """Run an application as all programs of aiohttp are measured."""
    web.run_app(
        app,
        host="127.0.0.1",
        port=0,
        access_log=None,
        shutdown_timeout=1,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    options: dict[str, Any] = dict(each.split("=", 1) for each in sys.argv[2:])
    if "zlib" in options:
        library = import_module(options.pop("zlib"))
        aiohttp.set_zlib_backend(library)
    if "database" in options:
        options["database"] = Path(options["database"])
    if "work_here" in options:
        options["work_here"] = options["work_here"] == "yes"
    serve(import_module(sys.argv[1]).create_app(**options))
