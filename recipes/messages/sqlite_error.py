import sqlite3

connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE notes (id)")
try:
    connection.execute("SELECT id FROM notes AS a, notes AS b")
    # cure: connection.execute("SELECT a.id FROM notes AS a, notes AS b")
finally:
    connection.close()
