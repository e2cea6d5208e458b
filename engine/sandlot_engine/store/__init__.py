"""What is kept: small ports, and the adapters that satisfy them."""
