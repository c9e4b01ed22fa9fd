from aiohttp import web

web.Response(text="Hello", body=b"Hello")
# cure: web.Response(text="Hello")
