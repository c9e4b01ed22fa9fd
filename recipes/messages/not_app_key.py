from aiohttp import web

app = web.Application()
app["name"] = "cookbook"
# cure: app[web.AppKey("name", str)] = "cookbook"
