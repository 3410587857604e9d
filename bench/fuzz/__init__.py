"""Fuzz bench: mutated files of every kind that a user brings, read by the code that reads them."""
