"""Confidence that means something: calibrators, certificates, and what watches over them."""
