-- Tenants take turns, and destinations within them: the queue is walked by both.
DROP INDEX invites_due;
CREATE INDEX invites_due ON invites (provider, tenant, destination, next_attempt_at, id)
    WHERE status = 'queued';

-- 1 for an attempt for invites of more than one tenant, or some of whose invites could not be read.
ALTER TABLE attempts ADD COLUMN shared BIGINT NOT NULL DEFAULT 0;
