from yarl import URL

url = URL("http://example.com/notes")
print(url.startswith("http:"))
# cure: print(url.scheme == "http")
