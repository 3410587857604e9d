"""The best score that any model can reach on the bundled corpus: the Bayes-optimal classifier."""
