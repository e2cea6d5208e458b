"""Runs hostile code in a jail. Imports nothing: launcher and guest import it too."""
