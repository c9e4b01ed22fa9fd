"""Compiles a handler of the shape that the FAQ prints."""

HANDLER = """
def ping_handler(request):
    response = web.json_response({"message": "PONG"})
    await response.prepare(request)
    await response.write_eof()
"""

for text in (HANDLER, f"async {HANDLER.strip()}"):
    try:
        compile(text, "faq.rst", "exec")
    except SyntaxError as error:
        print(f"{type(error).__name__}: {error.msg}")
    else:
        print("compiles")
