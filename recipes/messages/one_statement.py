import sqlite3

database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE a (id); CREATE TABLE b (id)")
# cure: database.executescript("CREATE TABLE a (id); CREATE TABLE b (id)")
