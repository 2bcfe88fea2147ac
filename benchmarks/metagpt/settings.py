"""What MetaGPT is told: its configuration file, its environment, and the ideas that it builds.

Everything here is a setting of MetaGPT's own; its code is left as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["IDEAS", "Idea", "config_text", "environment", "prepare"]


@dataclass(frozen=True, slots=True)
class Idea:
    """What a company is asked for.

    Attributes:
        name: Of the project, as a folder's name.
        text: The first request.
        change: What is asked for afterwards, of the project that is there then.
    """

    name: str
    text: str
    change: str

    def to_json(self) -> str:
        """One line, as `company` reads it."""
        return json.dumps(asdict(self))


# Small enough for a model of 1.5 billion parameters, and different enough to be several.
IDEAS = (
    Idea(
        "word_counter",
        "Write a command line program in one Python file, main.py, that counts the words of a "
        "text file and prints the ten most frequent.",
        "Also print the number of lines.",
    ),
    Idea(
        "unit_converter",
        "Write a Python function in one file, main.py, that converts temperatures between "
        "Celsius, Fahrenheit and Kelvin.",
        "Converting below absolute zero raises no error, but it should. Fix it.",
    ),
    Idea(
        "todo_list",
        "Write a command line to-do list in one Python file, main.py, which keeps its tasks in "
        "a JSON file.",
        "Tasks should have a due date.",
    ),
    Idea(
        "tip_calculator",
        "Write a tip calculator in one Python file, main.py: it asks for the bill and the "
        "percentage and prints tip and total.",
        "Split the total among several people.",
    ),
    Idea(
        "password_maker",
        "Write a Python script in one file, main.py, that makes random passwords of a given "
        "length with digits and symbols.",
        "Add an option that leaves symbols out.",
    ),
    Idea(
        "roman_numerals",
        "Write a Python module in one file, main.py, that converts integers to Roman numerals "
        "and back.",
        "Converting the number 0 crashes the program. Repair it.",
    ),
    Idea(
        "csv_summary",
        "Write a command line program in one Python file, main.py, that prints minimum, maximum "
        "and mean of each numeric column of a CSV file.",
        "Print the median, too.",
    ),
    Idea(
        "quiz_game",
        "Write a text quiz in one Python file, main.py, that asks five questions and prints the "
        "score.",
        "The score counts wrong answers as right. Correct this bug.",
    ),
    Idea(
        "leap_years",
        "Write a Python function in one file, main.py, that lists the leap years between two "
        "years.",
        "Accept the two years as command line arguments.",
    ),
    Idea(
        "text_cipher",
        "Write a Caesar cipher in one Python file, main.py, with functions to encode and decode "
        "a text.",
        "Let it read the text from a file.",
    ),
)


def config_text(base_url: str, *, model: str, max_token: int, timeout: int = 3600) -> str:
    """MetaGPT's `config2.yaml`; that `base_url` is the gateway's is all that recording takes.

    Args:
        base_url: Of the gateway, with `/v1`.
        model: The name that the agent asks for.
        max_token: The most tokens of an answer.
        timeout: Seconds without a byte after which MetaGPT asks again; by default more than the
            600 that it takes itself, as a busy machine may take long over a prompt.
    """
    return f"""\
llm:
  api_type: "openai"
  model: {json.dumps(model)}
  base_url: {json.dumps(base_url)}
  api_key: "any"
  max_token: {max_token}
  timeout: {timeout}
  calc_usage: false
repair_llm_output: true
mermaid:
  engine: "none"
"""


def prepare(home: Path, text: str) -> None:
    """Write the configuration file where MetaGPT looks for it, in a home of its own.

    Args:
        home: The folder that is `HOME` for MetaGPT.
        text: What the file says.
    """
    folder = home / ".metagpt"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config2.yaml").write_text(text, encoding="utf-8")


def environment(home: Path, *, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables for MetaGPT's process.

    Args:
        home: The folder that is `HOME` for it, and where it keeps what it writes.
        base: The environment to begin with; this process's unless told.
    """
    found = dict(os.environ if base is None else base)
    # It must not find this environment's packages, and takes every variable for a setting.
    found.pop("PYTHONPATH", None)
    found |= {"HOME": str(home), "METAGPT_PROJECT_ROOT": str(home)}
    # The projects' repositories need somebody who commits.
    found |= {f"GIT_{who}_NAME": "MetaGPT" for who in ("AUTHOR", "COMMITTER")}
    found |= {f"GIT_{who}_EMAIL": "metagpt@example.org" for who in ("AUTHOR", "COMMITTER")}
    return found
