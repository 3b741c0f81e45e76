// What people write by hand for Node: validate, insert, call with the stamp, update, answer.
//
// It takes the gateway's request and gives an answer of its shape. It leaves out what makes a gateway: keys, duplicates, retries,
// look-ups, other providers.

import { createECDH, createPrivateKey, randomUUID, sign } from 'node:crypto';
import Database from 'better-sqlite3';
import Fastify from 'fastify';
import { Pool } from 'undici';

const { BENCH_DATABASE, BENCH_KEY, BENCH_ORGANIZATION, BENCH_PORT, BENCH_SENDER, BENCH_UPSTREAM } = process.env;

const pair = createECDH('prime256v1');
pair.setPrivateKey(BENCH_KEY, 'hex');
const point = pair.getPublicKey();
const key = createPrivateKey({
  format: 'jwk',
  key: {
    kty: 'EC',
    crv: 'P-256',
    d: pair.getPrivateKey('base64url'),
    x: point.subarray(1, 33).toString('base64url'),
    y: point.subarray(33).toString('base64url'),
  },
});
const publicKey = pair.getPublicKey('hex', 'compressed');

const database = new Database(BENCH_DATABASE);
database.pragma('journal_mode = WAL');
database.pragma('synchronous = FULL');
database.exec(`CREATE TABLE invites (
  id TEXT PRIMARY KEY, batch_id TEXT NOT NULL, email TEXT NOT NULL, first_name TEXT, last_name TEXT,
  provider TEXT NOT NULL, status TEXT NOT NULL, provider_ref TEXT, created_at TEXT NOT NULL)`);
const insert = database.prepare(`INSERT INTO invites VALUES
  (@id, @batch_id, @email, @first_name, @last_name, @provider, @status, @provider_ref, @created_at)`);
const update = database.prepare('UPDATE invites SET status = @status, provider_ref = @provider_ref WHERE id = @id');
const select = database.prepare('SELECT * FROM invites WHERE id = ?');
const insertAll = database.transaction((rows) => rows.forEach((row) => insert.run(row)));
const updateAll = database.transaction((rows) => rows.forEach((row) => update.run(row)));

const upstream = new Pool(BENCH_UPSTREAM, { connections: 64 });

function stamp(body) {
  const signature = sign('sha256', Buffer.from(body), key).toString('hex');
  const text = JSON.stringify({ publicKey, signature, scheme: 'SIGNATURE_SCHEME_TK_API_P256' });
  return Buffer.from(text).toString('base64url');
}

async function createInvitations(invites) {
  const body = JSON.stringify({
    type: 'ACTIVITY_TYPE_CREATE_INVITATIONS',
    timestampMs: String(Date.now()),
    organizationId: BENCH_ORGANIZATION,
    parameters: {
      invitations: invites.map((invite) => ({
        receiverUserName: [invite.first_name, invite.last_name].filter(Boolean).join(' '),
        receiverUserEmail: invite.email,
        receiverUserTags: [],
        accessType: 'ACCESS_TYPE_WEB',
        senderUserId: BENCH_SENDER,
      })),
    },
  });
  const response = await upstream.request({
    method: 'POST',
    path: '/public/v1/submit/create_invitations',
    headers: { 'content-type': 'application/json', 'x-stamp': stamp(body) },
    body,
  });
  const { activity } = await response.body.json();
  const ids = activity?.result?.createInvitationsResult?.invitationIds ?? [];
  if (activity?.status !== 'ACTIVITY_STATUS_COMPLETED' || ids.length !== invites.length) {
    throw new Error('the activity did not complete');
  }
  return ids;
}

const invite = {
  type: 'object',
  additionalProperties: false,
  required: ['email'],
  properties: {
    email: { type: 'string', format: 'email', maxLength: 254 },
    first_name: { type: 'string', maxLength: 200 },
    last_name: { type: 'string', maxLength: 200 },
  },
};
const body = {
  type: 'object',
  additionalProperties: false,
  required: ['to', 'invites'],
  properties: {
    to: { type: 'string' },
    invites: { type: 'array', minItems: 1, maxItems: 1000, items: invite },
  },
};

const app = Fastify({ ajv: { customOptions: { removeAdditional: false } } });

app.post('/v1/invites', { schema: { body } }, async (request, reply) => {
  const { to, invites } = request.body;
  const batch = { id: `bat_${randomUUID()}`, created_at: new Date().toISOString() };
  const rows = invites.map((invite) => ({
    id: `inv_${randomUUID()}`,
    batch_id: batch.id,
    email: invite.email,
    first_name: invite.first_name ?? null,
    last_name: invite.last_name ?? null,
    provider: to,
    status: 'sending',
    provider_ref: null,
    created_at: batch.created_at,
  }));
  insertAll(rows);
  const ids = await createInvitations(invites);
  rows.forEach((row, at) => Object.assign(row, { status: 'pending', provider_ref: ids[at] }));
  updateAll(rows);
  reply.code(201);
  return { batch, invites: rows };
});

app.get('/v1/invites/:id', async (request, reply) => {
  const row = select.get(request.params.id);
  if (!row) reply.code(404);
  return row ?? { status: 404 };
});

await app.listen({ host: '127.0.0.1', port: Number(BENCH_PORT) });
