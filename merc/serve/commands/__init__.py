"""Command line of an exported model: predict, predict --stream, explain."""
