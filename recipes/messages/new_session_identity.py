from aiohttp_session import Session

session = Session("identity", data={"session": {"user": "Ann"}}, new=False)
# cure: session = Session("identity", data=None, new=True)
session.set_new_identity("another")
