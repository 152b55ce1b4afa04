"""The operator's decisions: what the API server shows, what the interchange says and the time come in, plans go out.

Pure. Asking, watching, writing and waiting are left to the modules above.
"""
