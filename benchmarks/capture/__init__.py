"""Capturing calls: how fast, and what is lost when things fail."""
