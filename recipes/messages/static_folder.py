from aiohttp import web

app = web.Application()
app.router.add_static("/static", "static")
# cure: app.router.add_static("/static", ".")
