"""Everything that is neither network nor pipeline: corpora, encoders, packs, the training loop, scores, reasons."""
