from aiohttp import web

web.HTTPBadRequest(reason="first\nsecond")
# cure: web.HTTPBadRequest(text="first\nsecond")
