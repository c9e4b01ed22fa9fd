from pathlib import Path

from aiohttp import FormData

path = Path("notes.txt")
FormData().add_field("file", b"text", filename=path)
# cure: FormData().add_field("file", b"text", filename=path.name)
