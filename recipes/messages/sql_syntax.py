import sqlite3
from contextlib import closing

with closing(sqlite3.connect(":memory:")) as database:
    database.execute("SELEC 1")
    # cure: database.execute("SELECT 1")
