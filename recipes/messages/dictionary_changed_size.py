sockets = {"Ann": 1, "Bob": 2}
for user in sockets:
    # cure: for user in list(sockets):
    sockets.pop(user)
