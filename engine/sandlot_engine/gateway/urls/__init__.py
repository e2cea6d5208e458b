"""Function URLs: an HTTP request is an invocation, and its answer an HTTP response."""
