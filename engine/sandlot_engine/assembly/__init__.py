"""How the engine's parts are made; `engine.py` puts them together."""
