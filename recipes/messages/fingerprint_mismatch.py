import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import ClientSession, Fingerprint, web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def write_certificate(path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.now(UTC)
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now, now + timedelta(days=1)
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, form, serialization.NoEncryption())
    signed = certificate.sign(key, hashes.SHA256())
    path.write_bytes(secret + signed.public_bytes(pem))
    return signed.fingerprint(hashes.SHA256())


async def main():
    actual = write_certificate(Path("own.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("own.pem")
    server = TestServer(web.Application(), scheme="https")
    await server.start_server(ssl=context)
    try:
        expected = Fingerprint(bytes(32))
        # cure: expected = Fingerprint(actual)
        async with ClientSession() as session:
            async with session.get(
                server.make_url("/"), ssl=expected
            ) as response:
                print(response.status, actual.hex())
    finally:
        await server.close()


asyncio.run(main())
