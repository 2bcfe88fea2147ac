"""Typed skills on small language models, with an LLM called only where they are not sure enough."""

from __future__ import annotations

from hetagent import errors
from hetagent.admission import Scope
from hetagent.breaker import Breaker
from hetagent.budget import Budget, Spent, Window, WindowSpent
from hetagent.errors import HetagentError, NoAnswerError
from hetagent.field_stream import AsyncFieldStream, FieldStream
from hetagent.models.base import (
    Completion,
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
from hetagent.orchestrator import Orchestrator
from hetagent.outcome import Call, Draft, FieldOutcome, Outcome, Reason, ServedBy, Usage
from hetagent.policy import Decision, EarlyPolicy, Policy, RungPolicy, Scored, Threshold
from hetagent.schema import OutputType
from hetagent.skill import Skill, skill
from hetagent.tools import ToolCall, tools

__all__ = [
    "Answer",
    "AsyncFieldStream",
    "Breaker",
    "Budget",
    "Call",
    "Completion",
    "Decision",
    "Draft",
    "EarlyPolicy",
    "FieldOutcome",
    "FieldStream",
    "HetagentError",
    "LiteLLM",
    "LlamaCpp",
    "Message",
    "Model",
    "NoAnswerError",
    "Orchestrator",
    "Outcome",
    "OutputType",
    "Policy",
    "PricedModel",
    "Reason",
    "Request",
    "RungPolicy",
    "Scope",
    "Scored",
    "Scripted",
    "ServedBy",
    "Skill",
    "Spent",
    "StreamingModel",
    "Threshold",
    "Token",
    "ToolCall",
    "Transformers",
    "Usage",
    "Window",
    "WindowSpent",
    "errors",
    "skill",
    "tools",
]

__version__ = "0.1.0"
