import sqlite3
from contextlib import closing

with closing(sqlite3.connect(":memory:")) as database:
    database.execute("SELECT name FROM (SELECT 1)")
    # cure: database.execute("SELECT 1 AS name")
