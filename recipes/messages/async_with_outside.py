from aiohttp import ClientSession


def main():
    # cure: async def main():
    async with ClientSession() as session:
        print(session)
