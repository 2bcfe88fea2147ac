"""From call records to the workloads that they repeat."""

from hetagent.learn.cluster.workloads import Assigned, Workloads

__all__ = ["Assigned", "Workloads"]
