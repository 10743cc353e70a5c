"""Plan -> outcomes: `schedule` (what may run now), `journal` (the log), `send`, `docks` (following), `executor` (the loop)."""
