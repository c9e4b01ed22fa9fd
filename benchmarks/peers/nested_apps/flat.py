"""The same answer without nesting, and without middlewares."""

from aiohttp import web

from benchmarks.serve import serve


async def read_post(request: web.Request) -> web.Response:
    post_id = int(request.match_info["id"])
    return web.json_response({"section": "blog", "id": post_id, "site": None})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/section-1/posts/{id}", read_post)
    serve(app)
