"""Training: loop, objectives and losses of lip-sync, pretraining, teacher and student."""
