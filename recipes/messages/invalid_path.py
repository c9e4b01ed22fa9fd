from aiohttp import web


async def handler(request):
    return web.Response()


app = web.Application()
app.router.add_get("/items/{item-id}", handler)
# cure: app.router.add_get("/items/{item_id}", handler)
