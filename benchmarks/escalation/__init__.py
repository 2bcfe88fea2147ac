"""Escalation: whether certificates hold, and what they cost in answers not accepted."""
