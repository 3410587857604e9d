"""Plan of the bundled corpus: dialogues, speakers, emotions and defects, drawn from one seed."""
