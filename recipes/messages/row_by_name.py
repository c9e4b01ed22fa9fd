import sqlite3

database = sqlite3.connect(":memory:")
row = database.execute("SELECT 1 AS id").fetchone()
print(row["id"])
# cure: print(row[0])
