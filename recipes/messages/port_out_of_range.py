from yarl import URL

print(URL("http://localhost:80800/"))
# cure: print(URL("http://localhost:8080/"))
