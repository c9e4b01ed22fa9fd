import sqlite3

database = sqlite3.connect(":memory:")
database.close()
database.execute("SELECT 1")
