"""Capturing calls: what it costs, and what it holds."""
