from aiohttp import web


class MyView:
    # cure: class MyView(web.View):
    async def get(self):
        return web.Response()


web.get("/", MyView)
MyView(None)
