"""Files that one stage writes and another reads: manifest, packs, labels, truth, face tracks. No torch."""
