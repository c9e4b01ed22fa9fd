from aiohttp import web


def create_app():
    return web.Application()


web.AppRunner(create_app)
# cure: web.AppRunner(create_app())
