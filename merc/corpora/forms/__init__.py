"""The forms in which several corpora come: tables, acted recordings, CMU's segments of videos, and their splits."""
