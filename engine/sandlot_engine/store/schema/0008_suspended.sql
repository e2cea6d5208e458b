-- Tenants whose keys and functions the operator has switched off for a while.

ALTER TABLE tenants ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0;
