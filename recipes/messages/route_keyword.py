from aiohttp import web

app = web.Application()
app.router.add_get("/", web.View, name="import")
# cure: app.router.add_get("/", web.View, name="user-add")
