"""Start and end times of words: forced alignment with a CTC speech model."""
