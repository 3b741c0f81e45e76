-- What time it was. As in 0001: one text for both databases.

-- The gateway's time, and at the same moment that of the clock that it follows (PostgreSQL's, or with
-- SQLite the machine's): they differ while a step of that clock is made up for. At most one row.
CREATE TABLE clock (
    name TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    reference BIGINT NOT NULL
);
