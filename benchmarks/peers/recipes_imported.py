"""The bare application of `hello`, with the recipes and their drivers loaded.

What it takes more is no cost of the house: whoever uses them pays it.
"""

from importlib import import_module
from pathlib import Path

from aiohttp import web

from benchmarks.peers.hello import hello

RECIPES = Path(__file__).parents[2] / "recipes"

if __name__ == "__main__":
    for package, folder in [
        ("recipes", RECIPES),
        ("recipes.production", RECIPES / "production"),
    ]:
        for file in sorted(folder.glob("[!_]*.py")):
            import_module(f"{package}.{file.stem}")
    app = web.Application()
    app.router.add_get("/hello", hello)
    web.run_app(app, host="127.0.0.1", port=0, access_log=None)
