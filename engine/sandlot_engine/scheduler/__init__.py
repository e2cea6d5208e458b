"""Which instance serves which invocation: a pure state, and a shell that acts."""
