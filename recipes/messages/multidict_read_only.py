from multidict import CIMultiDict, CIMultiDictProxy

headers = CIMultiDictProxy(CIMultiDict({"Accept": "*/*"}))
# cure: headers = CIMultiDict({"Accept": "*/*"})
headers["Accept"] = "text/html"
