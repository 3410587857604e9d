"""Studies (tables of training runs): definition, execution, results pages; presets; the best possible score."""
