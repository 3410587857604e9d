"""Dataset readers, one module each: list a corpus's utterances, their labels and where their media are."""
