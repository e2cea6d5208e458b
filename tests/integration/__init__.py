"""Several parts together: real processes, real sockets, one engine."""
