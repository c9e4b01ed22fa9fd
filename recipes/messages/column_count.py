import sqlite3

database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE notes (id, text)")
database.execute("INSERT INTO notes VALUES ('tea')")
# cure: database.execute("INSERT INTO notes (text) VALUES ('tea')")
