"""The engine: gateways, invoker, catalog, scheduler and store of Sandlot."""
