from aiohttp import web

web.Application().add_domain("http://example.org", web.Application())
# cure: web.Application().add_domain("example.org", web.Application())
