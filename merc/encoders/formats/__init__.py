"""Readers of feature files: bytes in, nested containers of numbers out; merc/encoders/imported.py is the way in."""
