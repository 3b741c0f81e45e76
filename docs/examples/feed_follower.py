"""Follows the gateway's feed, and stores its place there together with what it made of the events.

    python3 feed_follower.py invites.db http://127.0.0.1:8080 FILE-WITH-KEY
"""

import http.client
import json
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

DATABASE, URL, KEY_FILE = sys.argv[1:]
KEY = Path(KEY_FILE).read_text().strip()
# In seconds.
WAIT = 60
PAUSE = 5


def get(path: str, wait: int = 0) -> dict:
    headers = {"Authorization": f"Bearer {KEY}", "Prefer": f"wait={wait}"}
    request = urllib.request.Request(URL + path, headers=headers)
    with urllib.request.urlopen(request, timeout=wait + 30) as answer:
        page = json.load(answer)
        if wait and not page["events"] and "Preference-Applied" not in answer.headers:
            # As many wait already as may, so that this one was answered at once.
            time.sleep(PAUSE)
        return page


def keep(database: sqlite3.Connection, invite: dict) -> None:
    row = [invite["id"], invite["status"]]
    database.execute("INSERT OR REPLACE INTO invites VALUES (?, ?)", row)


def keep_place(database: sqlite3.Connection, after: str) -> None:
    database.execute("INSERT OR REPLACE INTO feed VALUES (1, ?)", [after])


def begin_anew(database: sqlite3.Connection) -> None:
    """Reads all invites once. What happens meanwhile is behind the place, and told after them."""
    after = get("/v1/events?after=latest")["next_after"]
    with database:
        database.execute("DELETE FROM invites")
        path = "/v1/invites?limit=200"
        while path:
            page = get(path)
            for invite in page["invites"]:
                keep(database, invite)
            cursor = page["next_cursor"]
            path = cursor and f"/v1/invites?limit=200&cursor={cursor}"
        keep_place(database, after)


def follow(database: sqlite3.Connection) -> None:
    """Does what the next events say, and goes on behind them; both or neither."""
    place = database.execute("SELECT after FROM feed").fetchone()
    if place is None:
        return begin_anew(database)
    page = get(f"/v1/events?limit=200&after={place[0]}", WAIT)
    with database:
        for event in page["events"]:
            invite = event["data"].get("invite")
            if invite is not None:
                keep(database, invite)
        keep_place(database, page["next_after"])


database = sqlite3.connect(DATABASE)
database.executescript(
    "CREATE TABLE IF NOT EXISTS feed (one INTEGER PRIMARY KEY, after TEXT);"
    "CREATE TABLE IF NOT EXISTS invites (id TEXT PRIMARY KEY, status TEXT);"
)
while True:
    try:
        follow(database)
    except urllib.error.HTTPError as error:
        problem = error.read(64 * 1024).decode(errors="replace")
        if error.code == 410:
            # Events behind the place were removed: only the invites tell what they told.
            with database:
                database.execute("DELETE FROM feed")
        elif error.code == 429 or error.code >= 500:
            retry_after = error.headers.get("Retry-After", "")
            time.sleep(int(retry_after) if retry_after.isdecimal() else PAUSE)
        else:
            sys.exit(f"the gateway refuses: {error.code} {problem}")
    except (OSError, http.client.HTTPException):
        time.sleep(PAUSE)
