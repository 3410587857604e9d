"""The network, as a paper would draw it; weights are outputs of the pipeline and never stand here."""
