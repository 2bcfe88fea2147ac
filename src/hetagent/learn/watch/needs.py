"""When there is enough to convert a workload anew, and how its calls are then parted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hetagent.calibrate.bounds import allowed_errors
from hetagent.learn.convert.settings import ConvertSettings
from hetagent.learn.watch.calls import Seen, Target
from hetagent.learn.watch.result import Learnable

__all__ = ["learnable_of", "needed", "room", "shares_for"]

# Half of what is new is learned from; of the other half these shares choose, certify and decide.
_LEARNED = 0.5
_HELD = {"validate": 0.2, "calibrate": 0.4, "test": 0.4}
# Of the calls a skill was made with, so many new ones are worth learning from by themselves.
_WORTH = 0.2
# The largest share of all calls that is not learned from, as a first conversion has it.
_MOST_HELD = 0.4


def room(max_error: float, confidence: float) -> int:
    """The fewest accepted answers of which one may be wrong, and the certificate still holds."""
    n = math.ceil(math.log(1 - confidence) / math.log1p(-max_error))
    while allowed_errors(n, rate=max_error, level=1 - confidence) < 1:
        n += 1
    return n


def needed(settings: ConvertSettings) -> int:
    """New calls that are needed so that the part of them that certifies has `room`."""
    part = (1 - _LEARNED) * _HELD["calibrate"]
    return math.ceil(room(settings.max_error, settings.confidence) / part)


def shares_for(new: int, total: int) -> dict[str, float]:
    """Shares of the parts, by time, so that half of the new calls are learned from.

    A first conversion learns from the earliest calls alone; what is new would all be kept to
    certify and decide, and never be learned.

    Args:
        new: Labelled calls since the skill was made.
        total: Labelled calls, all of them.
    """
    held = min(_MOST_HELD, (1 - _LEARNED) * new / max(1, total))
    return {"train": 1 - held, **{part: held * share for part, share in _HELD.items()}}


def learnable_of(
    target: Target, seen: Seen, changes: Sequence[str], *, scheduled: bool
) -> Learnable:
    """What there is to learn from, and whether to do so.

    Args:
        target: The binding.
        seen: Its calls.
        changes: What is not as it was, in words.
        scheduled: Whether it is time to do so in any case.
    """
    calls = seen.labelled + seen.strays.total()
    before = seen.before if target.inputs is None else target.inputs.calls
    least = needed(target.settings)
    worth = max(least, math.ceil(_WORTH * before))
    wanted = least if changes or scheduled else worth
    again = seen.since_tried >= room(target.settings.max_error, target.settings.confidence)
    recommended = calls >= wanted and again
    why = [f"{calls:,} calls that an LLM answered since can be learned from."]
    if seen.unusable:
        some = ", ".join(f"{n:,} {fault}" for fault, n in seen.unusable.most_common(3))
        why.append(f"Others cannot: {some}.")
    if recommended:
        because = "; ".join(changes) or ("it is time" if scheduled else "they are enough")
        why.append(f"Convert it anew: {because}.")
    elif calls < wanted:
        why.append(f"About {wanted - calls:,} more are needed to convert it anew.")
    else:
        why.append("It was converted anew of late, and little has come since.")
    earlier = seen.before + seen.strays_before.total()
    return Learnable(
        calls, dict(seen.unusable.most_common()), wanted, earlier, recommended, tuple(why)
    )
