"""Receivers of the library's radios. Each knows nothing of the others, and puts what arrives on the bus."""
