from aiohttp import web

web.normalize_path_middleware(remove_slash=True)
# cure: web.normalize_path_middleware(append_slash=False, remove_slash=True)
