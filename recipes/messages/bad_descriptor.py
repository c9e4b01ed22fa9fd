import os

descriptor = os.open(".", os.O_RDONLY)
os.close(descriptor)
os.close(descriptor)
