"""An endpoint in front of LLMs and local models, which an agent is pointed at by its base URL.

from hetagent.gateway import Gateway, HttpUpstream
from hetagent.gateway.server import run

run(Gateway(HttpUpstream("https://api.openai.com/v1"), pipeline=...))
"""

from __future__ import annotations

from hetagent.gateway.app import Gateway
from hetagent.gateway.conversions import Conversions
from hetagent.gateway.converted import ConvertedUpstream
from hetagent.gateway.keys import Keys, add_key
from hetagent.gateway.limits import Limits
from hetagent.gateway.upstream import HttpUpstream, Upstream

__all__ = [
    "Conversions",
    "ConvertedUpstream",
    "Gateway",
    "HttpUpstream",
    "Keys",
    "Limits",
    "Upstream",
    "add_key",
]
