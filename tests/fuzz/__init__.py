"""Hostile bytes for everything that reads bytes. `make fuzz` is the long form; `tools/fuzz.py` says what it can do."""
