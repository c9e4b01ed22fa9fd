from aiohttp import web

response = web.Response()
response.set_cookie("last visit", "today")
# cure: response.set_cookie("last_visit", "today")
