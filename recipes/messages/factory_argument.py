from aiohttp import web

app = web.Application(debug=True)
# cure: app = web.Application()
