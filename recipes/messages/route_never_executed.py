from aiohttp import web


async def handler(request):
    return web.Response()


app = web.Application()
app.router.add_get("/", handler)
app.router.add_head("/", handler)
# cure: app.router.add_post("/", handler)
