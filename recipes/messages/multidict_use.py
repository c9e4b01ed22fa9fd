from multidict import MultiDict

headers = MultiDict([("Accept", "text/html", "utf-8")])
# cure: headers = MultiDict([("Accept", "text/html")])
