-- Who changed what, and which replica serves which revision. As in 0001: one text for both databases.

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

-- The newest revision that came from the file.
CREATE INDEX config_revisions_source ON config_revisions (source, revision);

-- Queued invites that could not be sent in time.
CREATE INDEX invites_waiting ON invites (provider, queued_at, id) WHERE status = 'queued';
