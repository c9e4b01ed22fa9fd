"""The answer, with a database that has so many notes.

Run with the path of the database, and their number.
"""

import sqlite3
import sys
from pathlib import Path

from benchmarks.serve import serve
from recipes.database import INSERT, SCHEMA, create_app

if __name__ == "__main__":
    path, count = sys.argv[1:]
    with sqlite3.connect(path) as connection:
        connection.execute(SCHEMA)
        notes = ((f"note {number}",) for number in range(int(count)))
        connection.executemany(INSERT, notes)
    connection.close()
    serve(create_app(database=Path(path)))
