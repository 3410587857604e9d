"""Self-supervised training of the lip-sync network."""
