from aiohttp import web


async def handler(request):
    return web.Response()


app = web.Application()
app.router.add_get("items", handler)
# cure: app.router.add_get("/items", handler)
