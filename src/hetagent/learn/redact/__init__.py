"""Redaction: what is private in a call is replaced before anything of it is written."""

from hetagent.learn.redact.redactor import Redactor

__all__ = ["Redactor"]
