"""How many rows a second this disk takes when each is a transaction of its own: SQLite in WAL mode with synchronous=FULL."""

import sqlite3
import sys
import time

path, seconds = sys.argv[1], float(sys.argv[2])
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = FULL")
connection.execute(
    "CREATE TABLE invites (id TEXT PRIMARY KEY, batch_id TEXT NOT NULL, email TEXT NOT NULL, first_name TEXT,"
    " last_name TEXT, provider TEXT NOT NULL, status TEXT NOT NULL, provider_ref TEXT, created_at TEXT NOT NULL)"
)
rows, began = 0, time.perf_counter()
while time.perf_counter() - began < seconds:
    rows += 1
    row = (f"inv_{rows:032}", "bat_1", f"p{rows}@example.org", "Ada", "Lovelace", "treasury", "sending", None, "2026-01-01")
    connection.execute("INSERT INTO invites VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
print(rows / (time.perf_counter() - began))
