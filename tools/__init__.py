"""Scripts for those who change the program; no part of it."""
