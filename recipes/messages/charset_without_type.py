from aiohttp import web

response = web.StreamResponse()
# cure: response = web.Response(content_type="text/csv")
response.charset = "utf-8"
