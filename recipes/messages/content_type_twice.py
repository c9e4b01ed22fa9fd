from aiohttp import web

html = {"Content-Type": "text/html"}
web.Response(text="Hello", content_type="text/html", headers=html)
# cure: web.Response(text="Hello", content_type="text/html")
