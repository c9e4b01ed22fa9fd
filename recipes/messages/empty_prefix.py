from aiohttp import web

app = web.Application()
app.add_subapp("/", web.Application())
# cure: app.add_subapp("/inner", web.Application())
