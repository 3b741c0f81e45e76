-- One text for SQLite and PostgreSQL. Times are milliseconds since 1970 UTC; JSON is TEXT; a flag is
-- 0 or 1. Only portable types: TEXT, BIGINT, DOUBLE PRECISION. WITHOUT ROWID is for SQLite alone: there
-- such a table is one with the index of its primary key. SQLite has no sequences.

-- The changes of these tables that were made, and the hash of the text that made them.
CREATE TABLE schema_versions (
    version BIGINT PRIMARY KEY,
    hash TEXT NOT NULL
);

CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    config_revision BIGINT NOT NULL,
    -- JSON: the invites that `on_duplicate` answered with, [[index, invite id], …]
    duplicates TEXT NOT NULL,
    traceparent TEXT,
    created_at BIGINT NOT NULL,
    -- When an event told that none of its invites is queued, sending or unknown any more, as long as that is so
    completed_at BIGINT
);

CREATE INDEX batches_tenant ON batches (tenant, id);

CREATE TABLE invites (
    id TEXT PRIMARY KEY,
    -- How often it was written since it was accepted
    version BIGINT NOT NULL DEFAULT 0,
    batch_id TEXT NOT NULL,
    item_index BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    -- NULL from here to `route` for an item that was refused before it was bound to a provider
    provider TEXT,
    kind TEXT,
    destination TEXT,
    call_key TEXT,
    params TEXT,
    -- JSON of the entry of [[routes]] that chose the provider; NULL where the request named it
    route TEXT,
    -- The revision of the provider document that it was bound under
    config_revision BIGINT NOT NULL,
    address TEXT NOT NULL,
    invitee TEXT NOT NULL,
    external_id TEXT,
    labels TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- The state: everything below changes, nothing above does.
    status TEXT NOT NULL,
    status_source TEXT NOT NULL,
    provider_ref TEXT,
    provider_status TEXT,
    provider_data TEXT NOT NULL,
    -- JSON array of the provider ids of second effects
    second_effects TEXT,
    -- The fingerprint of the call that the provider showed as what created it
    shown_fingerprint TEXT,
    expires_at BIGINT,
    checked_at BIGINT,
    sent_at BIGINT,
    attempt_count BIGINT NOT NULL,
    next_attempt_at BIGINT,
    lease_until BIGINT,
    holder TEXT,
    group_id TEXT,
    -- JSON of the reason that it failed, or is in doubt, for
    error TEXT,
    duplicate_effect BIGINT NOT NULL,
    revoke_sent BIGINT NOT NULL,
    queued_at BIGINT NOT NULL,
    ended_at BIGINT,
    absent_since BIGINT,
    lookups BIGINT NOT NULL,
    found_absent BIGINT NOT NULL,
    unconfirmed BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL,
    -- The service that the destination is at: kind and base URL
    service TEXT,
    -- The column that could not be read when it was last met; NULL for all that can be read. No lane
    -- takes an invite that has it
    unreadable TEXT,
    -- How much of it is gone: 0 nothing, 1 what was exchanged about it, 2 the person, too
    erased BIGINT NOT NULL DEFAULT 0,
    -- Since when it has ended; of one that is open at its provider, from when on it has lapsed; NULL for
    -- any other
    final_since BIGINT
);

-- At most one invite per destination and person is in doubt, over all tenants and provider names. Both
-- rules are found by person and by provider id: a destination whose account is not known may be the same
-- as another one of its service.
CREATE UNIQUE INDEX invites_in_doubt ON invites (address, destination)
    WHERE status IN ('sending', 'unknown');
-- A provider id is held by at most one invite.
CREATE UNIQUE INDEX invites_held ON invites (provider_ref, destination)
    WHERE provider_ref IS NOT NULL;
-- Tenants take turns, and destinations within them: the queue is walked by both, and each queue from what
-- is due longest.
CREATE INDEX invites_due ON invites
    (provider, tenant, destination, coalesce(next_attempt_at, queued_at), id) WHERE status = 'queued';
-- Queued invites that could not be sent in time.
CREATE INDEX invites_waiting ON invites (provider, queued_at, id) WHERE status = 'queued';
-- Counts per provider, and what is to be asked about again. A status that this version does not know is
-- not known to have ended: it counts.
CREATE INDEX invites_live ON invites (provider, status, coalesce(checked_at, 0), expires_at)
    WHERE status NOT IN ('accepted', 'declined', 'expired', 'revoked', 'failed');
-- What expires by the clock, and what did so and is still to be asked about once more.
CREATE INDEX invites_lapsing ON invites (expires_at, id)
    WHERE status IN ('awaiting_approval', 'pending', 'sent') AND expires_at IS NOT NULL;
CREATE INDEX invites_lapsed ON invites (provider, coalesce(checked_at, 0))
    WHERE unconfirmed = 1 AND status = 'expired';
CREATE INDEX invites_set_aside ON invites (id) WHERE (unreadable IS NOT NULL OR status NOT IN
    ('queued', 'sending', 'unknown', 'awaiting_approval', 'pending', 'sent', 'accepted', 'declined',
     'expired', 'revoked', 'failed'));
CREATE INDEX invites_ended ON invites (erased, final_since, id) WHERE final_since IS NOT NULL;
CREATE INDEX invites_doubtful ON invites (provider, next_attempt_at, id) WHERE status = 'unknown';
CREATE INDEX invites_failed ON invites (id) WHERE status = 'failed';
CREATE INDEX invites_leased ON invites (lease_until) WHERE status = 'sending';
CREATE INDEX invites_person ON invites (address, destination);
CREATE INDEX invites_batch ON invites (batch_id, item_index);
CREATE INDEX invites_tenant ON invites (tenant, id);
CREATE INDEX invites_external ON invites (external_id, tenant) WHERE external_id IS NOT NULL;

CREATE TABLE invite_labels (
    invite_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (invite_id, name)
) /* WITHOUT ROWID */;
CREATE INDEX invite_labels_value ON invite_labels (name, value, invite_id);

CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    operation TEXT NOT NULL,
    -- JSON of the frozen call of a create
    call TEXT,
    fingerprint TEXT,
    config_revision BIGINT NOT NULL,
    traceparent TEXT,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    outcome TEXT,
    http_status BIGINT,
    detail TEXT,
    -- Method and full address
    target TEXT,
    provider_request_id TEXT,
    request TEXT,
    reply TEXT,
    -- JSON: provider ids of new invites that the reply named without showing whose they are, [id, …]
    unpaired TEXT,
    -- 1 for one for invites of more than one tenant, or some of whose invites could not be read
    shared BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX attempts_fingerprint ON attempts (fingerprint) WHERE fingerprint IS NOT NULL;

CREATE TABLE attempt_invites (
    invite_id TEXT NOT NULL,
    attempt_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (invite_id, attempt_id)
) /* WITHOUT ROWID */;
CREATE INDEX attempt_invites_attempt ON attempt_invites (attempt_id, position);

-- What the feed tells: a row for each change that callers may want to learn of, until `events.retention`.
CREATE TABLE events (
    -- The number of the commit and the place in it: later ones are higher
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    type TEXT NOT NULL,
    -- NULL: for administrators
    tenant TEXT,
    -- The id of the invite or the batch, or the name of what else it tells of
    subject TEXT NOT NULL,
    -- The status of the invite before
    previous TEXT,
    -- JSON: the state of the invite as it then was, or what else there is to tell
    data TEXT NOT NULL
) /* WITHOUT ROWID */;
CREATE INDEX events_subject ON events (subject, id);
-- PostgreSQL commits in another order than it gives out numbers; SQLite has one writer.
CREATE SEQUENCE event_numbers;

-- Up to where the gateway's own readers of the feed have read it.
CREATE TABLE feed_readers (
    name TEXT PRIMARY KEY,
    read_up_to BIGINT NOT NULL
);

-- How many invites came into which status, by minute and by hour: counted from the events, so that it is
-- read without going through invites.
CREATE TABLE invite_counts (
    -- Empty: of all tenants together
    tenant TEXT NOT NULL,
    -- How many seconds a row counts
    seconds BIGINT NOT NULL,
    -- Since when
    at BIGINT NOT NULL,
    provider TEXT NOT NULL,
    status TEXT NOT NULL,
    -- Of those that failed: why. Empty for any other
    code TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (tenant, seconds, at, provider, status, code)
);
CREATE INDEX invite_counts_age ON invite_counts (seconds, at);

-- Where events are sent to.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    url TEXT NOT NULL,
    description TEXT,
    -- JSON arrays; an empty one: all
    types TEXT NOT NULL,
    providers TEXT NOT NULL,
    labels TEXT NOT NULL,
    is_thin BIGINT NOT NULL,
    -- JSON: what requests are signed with, newest first
    secrets TEXT NOT NULL,
    -- NULL: it is enabled
    disabled_because TEXT,
    failing_since BIGINT,
    -- All events up to this one have a delivery, if it gets them
    read_up_to BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX webhooks_tenant ON webhooks (tenant, id);

-- An event and a webhook that it was sent to, until the event is removed.
CREATE TABLE webhook_deliveries (
    webhook_id TEXT NOT NULL,
    event_id BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    -- When it is sent again; NULL: it was taken, or given up
    next_at BIGINT,
    delivered_at BIGINT,
    PRIMARY KEY (webhook_id, event_id)
) /* WITHOUT ROWID */;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at, event_id)
    WHERE next_at IS NOT NULL;
CREATE INDEX webhook_deliveries_open ON webhook_deliveries (webhook_id, event_id)
    WHERE delivered_at IS NULL;

CREATE TABLE webhook_attempts (
    webhook_id TEXT NOT NULL,
    event_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    took_ms BIGINT NOT NULL,
    http_status BIGINT,
    failure TEXT,
    reply TEXT,
    PRIMARY KEY (webhook_id, event_id, number)
) /* WITHOUT ROWID */;

-- The last event that was removed. At most one row.
CREATE TABLE removed_events (
    name TEXT PRIMARY KEY,
    last_id BIGINT NOT NULL,
    -- All that were removed happened before this
    before BIGINT NOT NULL
);

-- What is done, step by step, to all invites that a filter matches.
CREATE TABLE invite_actions (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    -- The key that asked for it, and what the record of changes says of that
    key_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- What a person found; NULL unless the kind is `settle`
    settled_as TEXT,
    -- JSON objects; the values of labels go from the filter when it ends
    filter TEXT NOT NULL,
    failed TEXT NOT NULL,
    state TEXT NOT NULL,
    cancelled_because TEXT,
    -- Why the next invite has to wait; NULL: it does not
    held_up_by TEXT,
    matched BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    -- The invites whose ids are not before this have been looked at, newest first
    place TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX invite_actions_running ON invite_actions (id) WHERE state = 'running';
CREATE INDEX invite_actions_tenant ON invite_actions (tenant, state, id);

CREATE TABLE idempotency_keys (
    tenant TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, idempotency_key)
) /* WITHOUT ROWID */;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE lanes (
    provider TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    -- what the owner knows of the provider, a JSON object, for the other replicas to show
    report TEXT
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    tenant TEXT NOT NULL,
    -- JSON arrays; `providers` NULL means all
    scopes TEXT NOT NULL,
    providers TEXT,
    requests_per_second DOUBLE PRECISION,
    invites_per_second DOUBLE PRECISION,
    invites_per_day BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT,
    -- The key that it was made with; NULL: on the gateway's machine
    parent TEXT
);
CREATE INDEX api_keys_parent ON api_keys (parent) WHERE parent IS NOT NULL;

-- What a key whose invites per day are limited had accepted on the day, in days since 1970, that it was
-- last used on.
CREATE TABLE key_days (
    key_id TEXT PRIMARY KEY,
    day BIGINT NOT NULL,
    invites BIGINT NOT NULL
);

CREATE TABLE config_revisions (
    revision BIGINT PRIMARY KEY,
    document TEXT NOT NULL,
    source TEXT NOT NULL,
    actor TEXT,
    note TEXT,
    created_at BIGINT NOT NULL,
    -- The revision that a restore put in force again; NULL for any other
    restored BIGINT
);
-- The newest revision that came from the file.
CREATE INDEX config_revisions_source ON config_revisions (source, revision);

CREATE TABLE audit_entries (
    -- Ordered by the time it was made
    id TEXT PRIMARY KEY,
    -- From 1 on, without gaps
    sequence BIGINT NOT NULL UNIQUE,
    -- The hash of the entry before, and this one's: SHA-256 in hexadecimal
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    source TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    -- JSON: what there was before and after, references and never values; NULL for nothing
    before TEXT,
    after TEXT,
    note TEXT
);

CREATE TABLE config_replicas (
    replica TEXT PRIMARY KEY,
    revision BIGINT NOT NULL,
    refusal TEXT,
    seen_at BIGINT NOT NULL
);

-- The document in the file that was refused last, by its SHA-256, and the newest revision when it was
-- first seen. At most one row.
CREATE TABLE refused_file (
    text_hash TEXT PRIMARY KEY,
    revision BIGINT NOT NULL
);

-- What is written to find out, by a number that keeps replicas out of each other's way.
CREATE TABLE readiness (
    replica BIGINT PRIMARY KEY,
    checked_at BIGINT NOT NULL
);

-- The gateway's time, and at the same moment that of the clock that it follows (PostgreSQL's, or with
-- SQLite the machine's): they differ while a step of that clock is made up for. At most one row.
CREATE TABLE clock (
    name TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    reference BIGINT NOT NULL
);

-- Provisional destinations, and what each turned out to be.
CREATE TABLE accounts (
    provisional TEXT PRIMARY KEY,
    destination TEXT NOT NULL
);

-- The last start of a request that was given out, for each provider, in microseconds since 1970 UTC: a
-- high rate has several in a millisecond. Only where replicas share the database.
CREATE TABLE rate_budgets (
    provider TEXT PRIMARY KEY,
    last_start BIGINT NOT NULL
);

-- How many invites are live at most at a provider with a quota: as many as were counted, and all that
-- were accepted since, with this revision of the provider document.
CREATE TABLE live_at_most (
    provider TEXT PRIMARY KEY,
    live BIGINT NOT NULL,
    counted_at BIGINT NOT NULL,
    config_revision BIGINT NOT NULL
);

-- Provider ids of invites whose person is gone, as keyed hashes: what has one of them at its provider is
-- theirs, and nobody else's.
CREATE TABLE held_refs (
    reference TEXT NOT NULL,
    service TEXT NOT NULL,
    destination TEXT NOT NULL
);
CREATE INDEX held_refs_reference ON held_refs (reference, destination);

-- How many invites were removed altogether.
CREATE TABLE removed_invites (
    provider TEXT NOT NULL,
    status TEXT NOT NULL,
    removed BIGINT NOT NULL,
    PRIMARY KEY (provider, status)
);

-- What keyed hashes are made with, in hexadecimal. At most one row.
CREATE TABLE hash_keys (
    name TEXT PRIMARY KEY,
    secret TEXT NOT NULL
);
