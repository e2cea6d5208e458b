"""What runs inside the jail, in any CPython from 3.9 on. Imports nothing."""
