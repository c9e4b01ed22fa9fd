from aiohttp import web

web.Response().etag = '"33a64df5"'
# cure: web.Response().etag = "33a64df5"
