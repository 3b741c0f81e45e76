-- Whether the database takes writes. As in 0001: one text for both databases.

-- What is written to find out, by a number that keeps replicas out of each other's way.
CREATE TABLE readiness (
    replica BIGINT PRIMARY KEY,
    checked_at BIGINT NOT NULL
);
