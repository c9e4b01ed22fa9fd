from aiohttp import web

app = web.Application()
app.router.add_get("/{name:[}", print)
# cure: app.router.add_get("/{name:[a-z]+}", web.View)
