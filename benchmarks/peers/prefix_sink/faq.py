"""The route that the FAQ of aiohttp gives, alone."""

from aiohttp import web

from benchmarks.serve import serve


async def sink(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "tail": request.match_info["tail"],
            "raw_path": request.rel_url.raw_path,
            "query": request.rel_url.raw_query_string,
        }
    )


if __name__ == "__main__":
    app = web.Application()
    app.router.add_route("*", "/path/to/{tail:.+}", sink)
    serve(app)
