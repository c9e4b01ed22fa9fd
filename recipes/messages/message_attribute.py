from aiohttp import WSMessage, WSMsgType

message = WSMessage(WSMsgType.TEXT, "text", None)
print(message.text)
# cure: print(message.data)
