from pathlib import Path

from aiohttp import web

Path("index.html").touch()
app = web.Application()
app.router.add_static("/", "index.html")
# cure: app.router.add_static("/", ".")
