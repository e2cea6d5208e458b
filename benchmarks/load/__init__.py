"""Clients that cost little, in a process of their own: they load a server, and say how
much processor time that took them."""
