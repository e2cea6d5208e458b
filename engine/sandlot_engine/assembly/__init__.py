"""How the engine's parts are made; `running.py` puts them together."""
