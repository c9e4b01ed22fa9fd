from aiohttp import ClientSession


class MySession(ClientSession):
    # cure: class MySession:
    pass
