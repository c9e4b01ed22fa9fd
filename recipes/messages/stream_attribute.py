from aiohttp import web

response = web.StreamResponse()
response.start()
