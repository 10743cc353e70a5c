"""The `reconciler` command: `main` finds a command's file, `session` and `running` hold what commands share.

A command parses, calls `wiring` and `pipeline`, renders with `report` and decides the exit code; nothing else.
"""
