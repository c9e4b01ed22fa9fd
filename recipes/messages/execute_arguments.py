import sqlite3

database = sqlite3.connect(":memory:")
database.execute("SELECT ? + ?", 1, 2)
# cure: database.execute("SELECT ? + ?", (1, 2))
