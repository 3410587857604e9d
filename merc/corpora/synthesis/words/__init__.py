"""Text of the bundled corpus."""
