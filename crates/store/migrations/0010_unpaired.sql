-- JSON: provider ids of new invites that the reply named without showing whose they are, [id, …]
ALTER TABLE attempts ADD COLUMN unpaired TEXT;
