"""Distillation of the teacher into the student."""
