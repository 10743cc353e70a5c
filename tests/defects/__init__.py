"""Defects of the kind that the promises guard against, seeded one at a time, and the tests that must notice."""
