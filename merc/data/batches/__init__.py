"""Feature packs as a dataset: splits, collated batches, sampling. Imports only records and runtime."""
