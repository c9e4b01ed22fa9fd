import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import ClientSession, web
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
    ).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, form, serialization.NoEncryption())
    signed = certificate.sign(key, hashes.SHA256())
    path.write_bytes(secret + signed.public_bytes(pem))


async def main():
    write_certificate(Path("own.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("own.pem")
    server = TestServer(web.Application(), scheme="https", host="localhost")
    await server.start_server(ssl=context)
    try:
        trusted = ssl.create_default_context()
        # cure: trusted = ssl.create_default_context(cafile="own.pem")
        async with ClientSession() as session:
            url = server.make_url("/").with_host("localhost")
            async with session.get(url, ssl=trusted) as response:
                print(response.status)
    finally:
        await server.close()


asyncio.run(main())
