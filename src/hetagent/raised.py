"""What an error is, for logs: its type and where it was raised, never what it says.

The message of an error may quote what it is about: a prompt, an answer, a key. Logs are kept longer
and read by more people than records are.
"""

from __future__ import annotations

__all__ = ["raised"]


def raised(error: BaseException) -> str:
    """Type, module and line, such as ``ValueError in hetagent.learn.chat, line 41``."""
    trace = error.__traceback__
    if trace is None:
        return type(error).__name__
    while trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "?")
    return f"{type(error).__name__} in {module}, line {trace.tb_lineno}"
