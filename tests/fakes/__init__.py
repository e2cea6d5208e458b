"""In-memory stand-ins for what a test does not want to start."""
