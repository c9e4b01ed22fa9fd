from aiohttp import web

response = web.StreamResponse(headers={"Content-Length": "5"})
# cure: response = web.StreamResponse()
response.enable_chunked_encoding()
