"""The nouns: frozen dataclasses that know nothing of wires, files or processes."""
