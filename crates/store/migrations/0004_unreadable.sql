-- Rows that cannot be read. As in 0001: one text for both databases.

-- The column that could not be read when the invite was last met; NULL for all that can be read. No
-- lane takes an invite that has it.
ALTER TABLE invites ADD COLUMN unreadable TEXT;
CREATE INDEX invites_set_aside ON invites (id) WHERE (unreadable IS NOT NULL OR status NOT IN
    ('queued', 'sending', 'unknown', 'awaiting_approval', 'pending', 'sent', 'accepted', 'declined',
     'expired', 'revoked', 'failed'));

-- A status that this version does not know is not known to have ended: it counts.
DROP INDEX invites_live;
CREATE INDEX invites_live ON invites (provider, status, coalesce(checked_at, 0), expires_at)
    WHERE status NOT IN ('accepted', 'declined', 'expired', 'revoked', 'failed');
