"""Which binding serves each skill: versioned, switched at once, with where each came from."""

from hetagent.registry.binding import Binding, ModelRef
from hetagent.registry.log import Event
from hetagent.registry.registry import Registry
from hetagent.registry.state import State, arm, in_trial

__all__ = ["Binding", "Event", "ModelRef", "Registry", "State", "arm", "in_trial"]
