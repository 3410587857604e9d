"""Shared by all trainings: loop, objectives, optimisers, seeds, scores, calibration."""
