import socket

socket.socket().shutdown(socket.SHUT_WR)
