-- Where provider documents come from. As in 0001: one text for both databases.

-- The revision that a restore put in force again; NULL for any other.
ALTER TABLE config_revisions ADD COLUMN restored BIGINT;

-- The document in the file that was refused last, by its SHA-256, and the newest revision when it was
-- first seen. At most one row.
CREATE TABLE refused_file (
    text_hash TEXT PRIMARY KEY,
    revision BIGINT NOT NULL
);
