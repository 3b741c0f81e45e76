"""Receives the gateway's webhooks: verifies each, stores what it tells, and only then answers.

    python3 webhook_receiver.py invites.db 9000 FILE-WITH-SECRET
"""

import base64
import hmac
import json
import re
import sqlite3
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# In seconds. Whoever recorded a request cannot send it again later than this.
TOLERANCE = 5 * 60
MAX_BODY = 1024 * 1024
DATABASE, PORT, SECRET_FILE = sys.argv[1:]
SECRET = base64.b64decode(Path(SECRET_FILE).read_text().strip().removeprefix("whsec_"))


def is_genuine(event_id: str, headers, body: bytes) -> bool:
    """Whether the gateway signed this, just now."""
    timestamp = headers.get("webhook-timestamp", "")
    if not re.fullmatch("[0-9]{1,12}", timestamp) or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    signed = f"{event_id}.{timestamp}.".encode() + body
    wanted = b"v1," + base64.b64encode(hmac.digest(SECRET, signed, "sha256"))
    # While a secret is replaced there are two signatures.
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any(hmac.compare_digest(wanted, signature) for signature in given)


def store(event_id: str, event: dict) -> None:
    """Stores an event, once however often it comes."""
    row = [event_id, event["type"], event["subject"]]
    with closing(sqlite3.connect(DATABASE)) as database, database:
        # What takes long is done afterwards, from this table.
        database.execute("INSERT OR IGNORE INTO received VALUES (?, ?, ?)", row)
        invite = event["data"].get("invite")
        if invite is not None:
            # Events come in no certain order, so that an older one may be the last to come.
            database.execute(
                "INSERT INTO invites VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " status = excluded.status, event = excluded.event"
                " WHERE excluded.event > invites.event",
                [invite["id"], invite["status"], event_id],
            )


class Receiver(BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > MAX_BODY:
            return self.answer(413)
        body = self.rfile.read(int(length))
        event_id = self.headers.get("webhook-id", "")
        if not is_genuine(event_id, self.headers, body):
            return self.answer(401)
        # If this fails there is no answer, and the event is sent again.
        store(event_id, json.loads(body))
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()


with closing(sqlite3.connect(DATABASE)) as database:
    database.executescript(
        "CREATE TABLE IF NOT EXISTS received (event TEXT PRIMARY KEY, type TEXT, subject TEXT);"
        "CREATE TABLE IF NOT EXISTS invites (id TEXT PRIMARY KEY, status TEXT, event TEXT);"
    )
server = ThreadingHTTPServer(("127.0.0.1", int(PORT)), Receiver)
print(f"http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
