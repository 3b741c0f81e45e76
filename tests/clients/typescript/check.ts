// Does with the generated client what a service does: node check.js URL KEY.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";
import { connect, type Schemas } from "./index.js";

const [url, key] = process.argv.slice(2);
assert(url && key);
const client = connect(url, key);

const receiver = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  response.writeHead(204).end();
  receiver.emit("received", request.headers, body);
}).listen(0, "127.0.0.1");
await once(receiver, "listening");
const received = once(receiver, "received") as Promise<[IncomingHttpHeaders, string]>;

const labels = { client: "typescript" };
const { data: webhook } = await client.POST("/v1/webhooks", {
  body: {
    url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
    types: ["invite.pending"],
    labels,
  },
});
assert(webhook?.secret);

const { data: accepted } = await client.POST("/v1/invites", {
  params: { header: { Prefer: "respond-async" } },
  body: {
    to: "treasury",
    invites: [{ email: "typescript@example.org", first_name: "Anders", last_name: "Client", labels }],
  },
});
assert(accepted && "batch" in accepted);
const { data: batch } = await client.GET("/v1/batches/{id}", {
  params: { path: { id: accepted.batch.id }, header: { Prefer: "wait=30" } },
});
assert.equal(batch?.state, "completed");
const id = accepted.invites[0]?.id;
assert(id);
const { data: invite } = await client.GET("/v1/invites/{id}", { params: { path: { id } } });
assert(invite);
assert.equal(invite.status satisfies Schemas["Status"], "pending");
assert.deepEqual(invite.labels, labels);

const { data: page } = await client.GET("/v1/invites", {
  params: { query: { label: ["client:typescript"], status: ["pending"], limit: 1 } },
});
assert.deepEqual(page?.invites, [invite]);

// The sandbox has invited others before, so that only these are looked at.
const own = [invite.id, accepted.batch.id];
const events: Schemas["Event"][] = [];
for (let after = {}; events.at(-1)?.type !== "batch.completed"; ) {
  const { data: told } = await client.GET("/v1/events", {
    params: { query: { limit: 3, ...after }, header: { Prefer: "wait=30" } },
  });
  assert(told);
  events.push(...told.events.filter((event) => own.includes(event.subject)));
  after = { after: told.next_after };
}
const [queued, pending, completed] = events;
assert(queued?.type === "invite.queued" && queued.data.previous === null);
assert(pending?.type === "invite.pending" && pending.data.invite?.status === "pending");
assert(completed?.type === "batch.completed" && completed.data.counts["pending"] === 1);

const [headers, body] = await received;
const verifier = new Webhook(webhook.secret);
const event = verifier.verify(body, headers as Record<string, string>) as Schemas["Event"];
assert.deepEqual(event.id, pending.id);
assert.throws(() => verifier.verify(`${body} `, headers as Record<string, string>));

const { error: problem, response } = await client.POST("/v1/invites", {
  body: { to: "treasury", invites: [{ email: "nobody" }] },
});
assert.equal(response.status, 422);
assert.equal(problem?.code satisfies Schemas["ProblemCode"] | undefined, "validation-failed");
assert(problem?.errors?.some((fault) => fault.pointer === "#/invites/0/email"));
const { error: missing } = await client.GET("/v1/invites/{id}", {
  params: { path: { id: `inv_${"0".repeat(32)}` } },
});
assert.equal(missing?.code, "not-found");
receiver.close();
console.log("the client in TypeScript invites, reads, follows and is refused as the document says");
