import ssl
from pathlib import Path

Path("privkey.pem").touch()
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("privkey.pem")
