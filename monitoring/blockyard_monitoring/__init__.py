"""The hub: monitoring messages come in by radios, pass one bounded bus, and go out to sinks.

What is told, and how a sender speaks, is the library's (`blockyard.wire.monitoring`, `blockyard.radios`). The hub
decides nothing about tasks, and nothing waits for it but the records that must not be lost.
"""
