"""Generator of the bundled corpus: dialogues, sentences, voices, faces and MELD's defects, from one seed."""
