from aiohttp import web

app = web.Application()
user = app.router.add_resource("/users/{name}", name="user")
user.url_for()
# cure: user.url_for(name="ann")
