"""Conversion: from recorded calls of a workload to a skill that answers them."""

from hetagent.learn.convert.run import Conversion, convert
from hetagent.learn.convert.settings import ConvertSettings

__all__ = ["Conversion", "ConvertSettings", "convert"]
