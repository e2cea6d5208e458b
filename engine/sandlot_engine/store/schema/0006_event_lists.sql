-- Lists of a tenant's events are read newest first, a page at a time.

CREATE INDEX events_by_tenant ON events (tenant_id, position);
