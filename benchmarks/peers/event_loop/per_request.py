"""A ClientSession in each handler, where there is a loop for sure.

The upstream is in this process, too.
"""

from aiohttp import ClientSession, web

from benchmarks.serve import serve


async def fetch(request: web.Request) -> web.Response:
    _, port = request.get_extra_info("sockname")
    url = f"http://localhost:{port}/upstream"
    async with ClientSession() as session, session.get(url) as response:
        text = await response.text()
    return web.json_response({"upstream": text})


async def answer_as_upstream(request: web.Request) -> web.Response:
    return web.Response(text="made and used in one loop")


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/fetch", fetch)
    app.router.add_get("/upstream", answer_as_upstream)
    serve(app)
