from aiohttp import web

web.HTTPNotFound("No such note")
# cure: web.HTTPNotFound(text="No such note")
