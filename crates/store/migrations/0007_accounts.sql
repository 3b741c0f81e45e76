-- Which account an invite's destination is. As in 0001: one text for both databases.

-- The service that the destination is at: kind and base URL.
ALTER TABLE invites ADD COLUMN service TEXT;

-- The same two rules as before, found by person and by provider id: a destination whose account is not
-- known may be the same as another one of its service.
DROP INDEX invites_in_doubt;
CREATE UNIQUE INDEX invites_in_doubt ON invites (address, destination)
    WHERE status IN ('sending', 'unknown');
DROP INDEX invites_held;
CREATE UNIQUE INDEX invites_held ON invites (provider_ref, destination)
    WHERE provider_ref IS NOT NULL;

-- Provisional destinations, and what each turned out to be.
CREATE TABLE accounts (
    provisional TEXT PRIMARY KEY,
    destination TEXT NOT NULL
);
