"""From predictions to scores: conditions, bootstrap, significance, calibration, slices, and their report."""
