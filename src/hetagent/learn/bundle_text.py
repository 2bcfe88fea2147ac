"""What a bundle's README.txt says."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hetagent.learn.bundle import Bundle

__all__ = ["readme"]


def readme(bundle: Bundle, *, holds: str) -> str:
    """The text, for whoever finds the folder.

    Args:
        bundle: What is in it.
        holds: Where its certificates hold.
    """
    skills = "\n".join(f"  {name}  (binding {id_})" for name, id_ in bundle.skills.items())
    return (
        "\n\n".join(
            [
                "A hetagent bundle: skills with the weights, adapters and certificates they run\n"
                "on. It needs no network.",
                f"Skills:\n{skills}",
                f"Install, once:  pip install hetagent=={bundle.versions['hetagent']}",
                "In this folder:",
                *_ways(bundle),
                "Is it whole?  hetagent bundle --check .",
                textwrap.fill(holds, 90),
            ]
        )
        + "\n"
    )


def _ways(bundle: Bundle) -> list[str]:
    name = next(iter(bundle.skills))
    if name in bundle.declared:
        command = f"MODULE:{name}"
        make = f"from MODULE import {name}  # it is declared in code, which is not in the bundle"
        given = name
    else:
        command, given = name, f'skill_of(".", {json.dumps(name)})'
        make = "from hetagent.learn.bundle import skill_of"
    return [
        f'  hetagent run {command} --registry . --input "..."',
        "  hetagent serve --convert --registry . --upstream https://api.openai.com/v1",
        f"  from hetagent import Orchestrator\n  {make}\n"
        f'  Orchestrator(registry=".").run({given}, "...").value',
    ]
