from aiohttp import web


def handler(request):
    # cure: async def handler(request):
    return web.Response()


app = web.Application()
app.router.add_get("/", handler)
