"""A radio and a sink of one's own for Blockyard."""
