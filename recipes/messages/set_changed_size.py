sockets = {1, 2}
for each in sockets:
    # cure: for each in list(sockets):
    sockets.discard(each)
