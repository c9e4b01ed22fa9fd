from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet

key = "a password"
# cure: key = Fernet.generate_key().decode()
EncryptedCookieStorage(key)
