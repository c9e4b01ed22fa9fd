from aiohttp import BytesPayload
from aiohttp.payload import PAYLOAD_REGISTRY, Order

PAYLOAD_REGISTRY.register(BytesPayload, bytes, order=5)
# cure: PAYLOAD_REGISTRY.register(BytesPayload, bytes, order=Order.try_first)
