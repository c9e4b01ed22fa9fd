def read(response):
    async for line in response.content:
        print(line)
