from aiohttp import web


@web.middleware
async def middleware(request, handler):
    return await handler(request)


app = web.Application()
inner = web.Application()
app.add_subapp("/inner", inner)
inner.middlewares.append(middleware)
