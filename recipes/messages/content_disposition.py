from aiohttp.payload import StringPayload

part = StringPayload("notes")
part.set_content_disposition("in line", filename="notes.txt")
# cure: part.set_content_disposition("inline", filename="notes.txt")
