from aiohttp import web

web.Response(text="Hello", content_type="text/html; charset=utf-8")
# cure: web.Response(text="Hello", content_type="text/html")
