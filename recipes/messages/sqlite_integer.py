import sqlite3

connection = sqlite3.connect(":memory:")
try:
    connection.execute("SELECT ?", [2**63])
    # cure: connection.execute("SELECT ?", [str(2**63)])
finally:
    connection.close()
