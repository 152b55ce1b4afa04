"""The page: the history and what happens now, in a browser, by a small web server of its own process.

It only reads: the database through `history`, the hub's stream, and an interchange for what a task printed. Everything
is drawn on the server but charts and the timeline; nothing is fetched from elsewhere, so it works offline.
"""
