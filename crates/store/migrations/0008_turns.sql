-- Tenants take turns, and destinations within them: the queue is walked by both.
DROP INDEX invites_due;
CREATE INDEX invites_due ON invites (provider, tenant, destination, next_attempt_at, id)
    WHERE status = 'queued';
