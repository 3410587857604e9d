"""Parsers of feature files: from bytes to nested containers of numbers."""
