"""What `reconciler watch` serves on its one port: the status page, its API, probes, metrics and the webhook.

Reads the board and nothing else, and never changes anything: the one thing a visitor can do is ask for a look. `cli.watch`
starts it (`server.serve`). Needs the extra `server`; nothing outside this package imports what that brings.
"""
