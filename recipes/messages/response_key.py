from aiohttp import web

response = web.Response()
response["user"] = "Ann"
# cure: response[web.ResponseKey("user", str)] = "Ann"
