from yarl import URL

print(URL("http://localhost/").with_query(42))
# cure: print(URL("http://localhost/").with_query({"id": 42}))
