"""What an orchestrator has for audits of its answers: what they found, and feedback."""

from __future__ import annotations

from collections.abc import Mapping
from types import EllipsisType
from typing import Any

from hetagent.admission import Admission
from hetagent.audit import Audit
from hetagent.auditing import Auditing
from hetagent.calibrate.audits import Joined
from hetagent.errors import SkillError
from hetagent.models.base import Model

__all__ = ["Audited", "auditing_of"]


class Audited:
    """Something whose answers may be audited."""

    _auditing: Auditing | None

    @property
    def audits(self) -> Auditing:
        """What audits of accepted answers have found: ``status()``, and ``flush()`` to wait.

        Raises:
            SkillError: There are none.
        """
        if self._auditing is None:
            raise SkillError(
                "This orchestrator makes no audits.", hint="Give it some: audit=Audit(share=0.02)."
            )
        return self._auditing

    def feedback(
        self,
        trace_id: str,
        *,
        correct: bool | None = None,
        value: Any | EllipsisType = ...,
        fields: Mapping[str, bool] | None = None,
        skill: str | None = None,
    ) -> Joined:
        """Say whether an answer was right, at any time after it was given.

        On an answer that was drawn for audit it is a verdict like any auditor's, and the first one
        counts. Feedback that is volunteered on other answers, escalated ones among them, is counted
        and never tested: those who complain are no random sample.

        Args:
            trace_id: `Outcome.trace_id` of the answer.
            correct: Whether the whole value is right. That it is wrong says nothing of any field.
            value: Or else the right value, or a dict of some fields of a record.
            fields: Or else whether fields are right, by path.
            skill: Which skill is meant, where several ran in one trace.

        Returns:
            What became of it; see `hetagent.calibrate.audits.Joined`.

        Raises:
            SkillError: There are no audits.
            InputError: It is not one of the three, no answer could have it, or it is a value and
                the answer is not remembered.
        """
        return self.audits.feedback(
            trace_id, correct=correct, value=value, fields=fields, skill=skill
        )


def auditing_of(
    audit: Audit | None, *, llms: tuple[Model, ...], admission: Admission
) -> Auditing | None:
    """The audits that are asked for.

    Raises:
        SkillError: They cannot be made.
    """
    if audit is None:
        return None
    if not isinstance(audit, Audit):
        raise SkillError(f"audit is {audit!r}.", hint="It must be Audit(share=...), or None.")
    return Auditing(audit, llms=llms, admission=admission)
