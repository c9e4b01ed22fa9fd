from aiohttp import web

web.HTTPFound("")
# cure: web.HTTPFound("/")
