"""Typed skills on small language models, with an LLM called only where they are not sure enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hetagent import errors
from hetagent.admission import Scope
from hetagent.audit import Audit, Auditor, AuditSummary
from hetagent.auditing import Auditing
from hetagent.benefit import Benefit
from hetagent.breaker import Breaker
from hetagent.budget import Budget, Spent, Window, WindowSpent
from hetagent.calibrate.audits import AuditStatus, Joined
from hetagent.calibrate.certificate import Certificate
from hetagent.calibrate.workflow_certificate import WorkflowCertificate
from hetagent.certified import Certified
from hetagent.errors import HetagentError, NoAnswerError
from hetagent.evidence import Evidence
from hetagent.field_stream import AsyncFieldStream, FieldStream
from hetagent.models.base import (
    Completion,
    IdentifiedModel,
    Message,
    Model,
    PricedModel,
    Request,
    StreamingModel,
    Token,
)
from hetagent.models.litellm import LiteLLM
from hetagent.models.llamacpp import LlamaCpp
from hetagent.models.scripted import Answer, Scripted
from hetagent.models.transformers import Transformers
from hetagent.offered import Offered
from hetagent.orchestrator import Orchestrator
from hetagent.outcome import (
    Basis,
    Call,
    Draft,
    FieldOutcome,
    Outcome,
    Reason,
    RungAnswer,
    ServedBy,
    Usage,
)
from hetagent.policy import (
    CertifyingPolicy,
    Decision,
    EarlyPolicy,
    Policy,
    Promise,
    RungPolicy,
    Scored,
    StartingPolicy,
    Threshold,
)
from hetagent.schema import OutputType
from hetagent.sink import JsonLines, Sink
from hetagent.skill import Skill, skill
from hetagent.tools import ToolCall, tools
from hetagent.workflow import Workflow, WorkflowOutcome

if TYPE_CHECKING:
    from hetagent.learn.recorder import Recorder

__all__ = [
    "Answer",
    "AsyncFieldStream",
    "Audit",
    "AuditStatus",
    "AuditSummary",
    "Auditing",
    "Auditor",
    "Basis",
    "Benefit",
    "Breaker",
    "Budget",
    "Call",
    "Certificate",
    "Certified",
    "CertifyingPolicy",
    "Completion",
    "Decision",
    "Draft",
    "EarlyPolicy",
    "Evidence",
    "FieldOutcome",
    "FieldStream",
    "HetagentError",
    "IdentifiedModel",
    "Joined",
    "JsonLines",
    "LiteLLM",
    "LlamaCpp",
    "Message",
    "Model",
    "NoAnswerError",
    "Offered",
    "Orchestrator",
    "Outcome",
    "OutputType",
    "Policy",
    "PricedModel",
    "Promise",
    "Reason",
    "Recorder",
    "Request",
    "RungAnswer",
    "RungPolicy",
    "Scope",
    "Scored",
    "Scripted",
    "ServedBy",
    "Sink",
    "Skill",
    "Spent",
    "StartingPolicy",
    "StreamingModel",
    "Threshold",
    "Token",
    "ToolCall",
    "Transformers",
    "Usage",
    "Window",
    "WindowSpent",
    "Workflow",
    "WorkflowCertificate",
    "WorkflowOutcome",
    "errors",
    "skill",
    "tools",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load what not every program needs, when it is first asked for."""
    if name == "Recorder":
        from hetagent.learn.recorder import Recorder

        globals()[name] = Recorder
        return Recorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
