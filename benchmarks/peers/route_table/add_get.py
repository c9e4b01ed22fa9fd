"""A route that is added to the router by a call."""

from aiohttp import web

from benchmarks.serve import serve


async def read_item(request: web.Request) -> web.Response:
    return web.json_response({"name": request.match_info["name"]})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/items/{name}", read_item)
    serve(app)
