"""How fast it is, measured beside what it could be compared with, in the same run."""
