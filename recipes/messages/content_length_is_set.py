from aiohttp import web

response = web.Response(text="Hello")
response.content_length = 5
