"""Scoring of any system's predictions by a corpus's protocol: `merc score`, `merc masks`, `merc leaderboard`."""
