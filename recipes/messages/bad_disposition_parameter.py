from aiohttp.multipart import parse_content_disposition

print(parse_content_disposition("attachment; file@name=notes.txt"))
# cure: print(parse_content_disposition("attachment; filename=notes.txt"))
