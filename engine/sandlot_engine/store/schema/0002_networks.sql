-- What a tenant's functions may reach. Functions themselves have it in their body;
-- bodies from before say nothing, which is 'none'.

ALTER TABLE tenants ADD COLUMN network TEXT NOT NULL DEFAULT 'none';
ALTER TABLE tenants ADD COLUMN network_allow TEXT NOT NULL DEFAULT '[]'; -- JSON, CIDRs

-- The operator's own tenant: whoever has its key owns the machine.
UPDATE tenants SET network = 'host' WHERE id = '000000000001';
