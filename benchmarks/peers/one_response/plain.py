"""The same answer without a middleware."""

from aiohttp import web

from benchmarks.serve import serve


async def greet(request: web.Request) -> web.Response:
    name = request.query["name"]
    return web.json_response({"greeting": f"Hello, {name}!"})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/greeting", greet)
    serve(app)
