-- The last start of a request that was given out, for each provider; only where replicas share the
-- database.
CREATE TABLE rate_budgets (
    provider TEXT PRIMARY KEY,
    last_start BIGINT NOT NULL
);
