from aiohttp import web

web.Response(text=42)
# cure: web.Response(text=str(42))
