"""What else hands events of Redis out to WebSockets.

Each sends `ready` once it is subscribed, and then the events of one channel.
"""

CHANNEL = "events:news"
