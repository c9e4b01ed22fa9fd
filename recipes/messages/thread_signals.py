from threading import Thread

from aiohttp import web

thread = Thread(target=web.run_app, args=[web.Application()])
thread.start()
thread.join()
