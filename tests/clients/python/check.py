"""Does with the generated client what a service does: python3 check.py URL KEY."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from threading import Thread

from invite_gateway_client import AuthenticatedClient
from invite_gateway_client.api.events import create_webhook, list_events
from invite_gateway_client.api.invites import create_invites, get_batch, get_invite, list_invites
from invite_gateway_client.models import (
    Accepted,
    Batch,
    BatchCompletedEvent,
    BatchState,
    EventList,
    EventType,
    Invite,
    InviteChangedEvent,
    InviteList,
    Labels,
    NewInvite,
    NewInvites,
    NewWebhook,
    Problem,
    ProblemCode,
    Status,
    Webhook,
)
from invite_gateway_client.types import UNSET, Unset
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

received: Queue[tuple[dict[str, str], bytes]] = Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        received.put((dict(self.headers.items()), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


receiver = HTTPServer(("127.0.0.1", 0), Receiver)
Thread(target=receiver.serve_forever, daemon=True).start()
client = AuthenticatedClient(sys.argv[1], sys.argv[2], raise_on_unexpected_status=True, timeout=60)

webhook = create_webhook.sync(
    client=client,
    body=NewWebhook(
        url=f"http://127.0.0.1:{receiver.server_port}/",
        types=[EventType.INVITE_PENDING],
        labels=Labels.from_dict({"client": "python"}),
    ),
)
assert isinstance(webhook, Webhook) and isinstance(webhook.secret, str), webhook

new = NewInvite(
    email="python@example.org",
    first_name="Guido",
    last_name="Client",
    labels=Labels.from_dict({"client": "python"}),
)
body = NewInvites(to="treasury", invites=[new])
accepted = create_invites.sync(client=client, body=body, prefer="respond-async")
assert isinstance(accepted, Accepted), accepted
batch = get_batch.sync(accepted.batch.id, client=client, prefer="wait=30")
assert isinstance(batch, Batch) and batch.state is BatchState.COMPLETED, batch
invite = get_invite.sync(accepted.invites[0].id, client=client)
assert isinstance(invite, Invite) and invite.status is Status.PENDING, invite
assert invite.email == new.email and invite.labels["client"] == "python" and invite.error is None

page = list_invites.sync(client=client, label=["client:python"], status=[Status.PENDING], limit=1)
assert isinstance(page, InviteList) and page.invites == [invite], page

# The sandbox has invited others before, so that only these are looked at.
own = (invite.id, batch.id)
events: list[object] = []
after: str | Unset = UNSET
while not (events and isinstance(events[-1], BatchCompletedEvent)):
    told = list_events.sync(client=client, after=after, limit=3, prefer="wait=30")
    assert isinstance(told, EventList), told
    events += [event for event in told.events if event.subject in own]
    after = told.next_after
queued, pending, completed = events
assert isinstance(queued, InviteChangedEvent) and queued.data.previous is None, queued
assert isinstance(pending, InviteChangedEvent) and pending.data.invite is not None, pending
assert pending.data.invite.status is Status.PENDING and pending.subject == invite.id
assert isinstance(completed, BatchCompletedEvent) and completed.data.counts["pending"] == 1, completed

headers, raw = received.get(timeout=30)
event = Verifier(webhook.secret).verify(raw, headers)
assert InviteChangedEvent.from_dict(json.loads(raw)).id == event["id"] == pending.id
try:
    Verifier(webhook.secret).verify(raw + b" ", headers)
    raise AssertionError("a body that was changed passes for the gateway's")
except WebhookVerificationError:
    pass

bad = NewInvites(to="treasury", invites=[NewInvite(email="nobody")])
refused = create_invites.sync_detailed(client=client, body=bad)
problem = refused.parsed
assert refused.status_code == 422 and isinstance(problem, Problem), refused
assert problem.code is ProblemCode.VALIDATION_FAILED and problem.errors, problem
assert "#/invites/0/email" in [fault.pointer for fault in problem.errors], problem
missing = get_invite.sync("inv_" + "0" * 32, client=client)
assert isinstance(missing, Problem) and missing.code is ProblemCode.NOT_FOUND, missing
print("the client in Python invites, reads, follows and is refused as the document says")
