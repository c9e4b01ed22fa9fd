import sqlite3
from contextlib import closing

with closing(sqlite3.connect(":memory:")) as database:
    with closing(database.execute("SELECT 1")) as cursor:
        pass
    cursor.fetchall()
