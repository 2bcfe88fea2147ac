"""Capture, redaction, curation and clustering of call records, measured."""
