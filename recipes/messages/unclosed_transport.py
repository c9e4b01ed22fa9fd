import socket

socket.socket()
# cure: socket.socket().close()
