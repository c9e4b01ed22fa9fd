"""The limit: a bare protocol on uvloop, which knows nothing of failures."""

import asyncio
import base64
import hashlib
import json
import re
import sys
from typing import cast

import uvloop
from redis.asyncio import Redis

from benchmarks.peers.parallel_events import CHANNEL

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a handshake is answered with (RFC 6455, 1.3)."""

TRANSPORTS = set[asyncio.Transport]()


class WebSocket(asyncio.Protocol):
    """Answers the handshake, and reads nothing after it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", data)
        if key is None:
            return
        accept = hashlib.sha1(key[1] + GUID).digest()  # noqa: S324
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
        )
        self._transport.write(frame({"type": "ready", "channel": "news"}))
        TRANSPORTS.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        TRANSPORTS.discard(self._transport)


def frame(message: dict[str, str]) -> bytes:
    """Return a text of 126 to 65,535 bytes, or of less than 126, as a frame."""
    payload = json.dumps(message).encode()
    if len(payload) < 126:
        return bytes([0x81, len(payload)]) + payload
    return b"\x81\x7e" + len(payload).to_bytes(2) + payload


async def main(redis_url: str) -> None:
    loop = asyncio.get_running_loop()
    redis = Redis.from_url(redis_url, decode_responses=True)
    async with redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        server = await loop.create_server(WebSocket, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        print(f"http://127.0.0.1:{port}", flush=True)
        async for message in pubsub.listen():
            if message["type"] == "message":
                event = frame({"type": "event", "data": message["data"]})
                for transport in TRANSPORTS:
                    transport.write(event)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
