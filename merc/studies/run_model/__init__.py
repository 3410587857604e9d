"""`python -m merc run-model`: other systems' models on a corpus, as a table that `merc score` reads."""
