import aiohttp

text = "ab" * 32
aiohttp.Fingerprint(text.encode())
# cure: aiohttp.Fingerprint(bytes.fromhex(text))
