from aiohttp import web


class MyApplication(web.Application):
    # cure: class MyApplication:
    pass
