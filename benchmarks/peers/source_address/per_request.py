"""A connector for each request. The upstream is in this process, too."""

from aiohttp import ClientSession, TCPConnector, web

from benchmarks.serve import serve


async def ask_upstream(request: web.Request) -> web.Response:
    source = request.query["source"]
    _, port = request.get_extra_info("sockname")
    url = f"http://127.0.0.1:{port}/upstream"
    connector = TCPConnector(local_addr=(source, 0))
    async with (
        ClientSession(connector=connector) as session,
        session.get(url) as response,
    ):
        visit = await response.json()
    return web.json_response({"source": source, "seen": visit["seen"]})


async def answer_as_upstream(request: web.Request) -> web.Response:
    return web.json_response({"seen": request.remote})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/whoami", ask_upstream)
    app.router.add_get("/upstream", answer_as_upstream)
    serve(app)
