"""Data model: the files that stages exchange (records) and the batches that networks consume (batches)."""
