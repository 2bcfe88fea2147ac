"""A recorded workload as a skill that runs: its rows, labels and answers."""

from hetagent.learn.task.rows import PARTS, SHARES, Example, Rows, Split, rows, split
from hetagent.learn.task.task import Task

__all__ = ["PARTS", "SHARES", "Example", "Rows", "Split", "Task", "rows", "split"]
