from aiohttp import web


async def handler(request):
    return web.Response()


app = web.Application()
app.router.add_get("/", handler, name="index")
app.router.add_get("/other", handler, name="index")
# cure: app.router.add_get("/other", handler, name="other")
