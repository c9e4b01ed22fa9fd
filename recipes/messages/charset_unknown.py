b"text".decode("utf-8,charset=utf-8")
# cure: b"text".decode("utf-8")
