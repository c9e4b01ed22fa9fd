"""So many sections of the answer in one application of aiohttp."""

import sys

from aiohttp import web

from benchmarks.serve import serve
from recipes.nested_apps import create_section

if __name__ == "__main__":
    app = web.Application()
    for number in range(1, int(sys.argv[1]) + 1):
        app.add_subapp(f"/section-{number}", create_section("blog"))
    serve(app)
