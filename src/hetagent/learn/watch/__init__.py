"""Watching converted skills: whether what was certified still holds, and when to learn anew."""

from hetagent.learn.watch.result import Watched
from hetagent.learn.watch.retraining import retrain
from hetagent.learn.watch.run import act, watch
from hetagent.learn.watch.settings import WatchSettings

__all__ = ["WatchSettings", "Watched", "act", "retrain", "watch"]
