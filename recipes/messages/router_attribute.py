from aiohttp import web


async def index(request):
    return web.Response()


web.Application().router.add("/", index)
# cure: web.Application().router.add_get("/", index)
