"""The bundled corpus: dialogues, sentences, voices, faces and MELD's defects, all drawn from one seed."""
