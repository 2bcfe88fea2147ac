"""From call records to a dataset that a model can be trained and tested on."""

from hetagent.learn.curate.run import STEPS, curate

__all__ = ["STEPS", "curate"]
