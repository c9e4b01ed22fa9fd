"""A ClientSession for each request. The upstream is in this process, too."""

from aiohttp import ClientSession, web

from benchmarks.serve import serve


async def fetch(request: web.Request) -> web.Response:
    _, port = request.get_extra_info("sockname")
    url = f"http://localhost:{port}/upstream"
    async with ClientSession() as session, session.get(url) as response:
        visit = await response.json()
    return web.json_response({"upstream": visit["user"], "port": visit["port"]})


async def answer_as_upstream(request: web.Request) -> web.Response:
    _, port = request.get_extra_info("peername")
    response = web.json_response({"user": "nobody", "port": port})
    response.set_cookie("user", "somebody")
    return response


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/fetch", fetch)
    app.router.add_get("/upstream", answer_as_upstream)
    serve(app)
