from aiohttp import web

app = web.Application()
resource = app.add_subapp("/admin", web.Application())
resource.url_for()
