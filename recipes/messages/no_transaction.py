import sqlite3

database = sqlite3.connect(":memory:")
database.execute("COMMIT")
# cure: database.commit()
