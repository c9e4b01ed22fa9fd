from yarl import URL

url = URL("/users")
# cure: url = URL("https://example.org/users")
url.with_host("example.com")
