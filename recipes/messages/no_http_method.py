from aiohttp import web

app = web.Application()
app.router.add_route("/path", "/path", web.View)
# cure: app.router.add_route("GET", "/path", web.View)
