"""Where a run records what it does: a log with compare-and-swap, one per environment (docs/state.md)."""
