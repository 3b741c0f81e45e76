-- What is taken out of rows, and what stays of it. As in 0001: one text for both databases.

-- How much of an invite is gone: 0 nothing, 1 what was exchanged about it, 2 the person, too.
ALTER TABLE invites ADD COLUMN erased BIGINT NOT NULL DEFAULT 0;
-- Since when it has ended; of one that is open at its provider, from when on it has lapsed. NULL for any
-- other.
ALTER TABLE invites ADD COLUMN final_since BIGINT;
CREATE INDEX invites_ended ON invites (erased, final_since, id) WHERE final_since IS NOT NULL;

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
