"""What a page says of a log: who served, why not the SLM, what it cost and took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hetagent.explain import money
from hetagent.report import charts
from hetagent.report.charts import percent, table
from hetagent.report.figures import quantile, timeline
from hetagent.report.markup import Element, Node, el
from hetagent.report.runs import SkillRuns

__all__ = ["runs_section"]


def runs_section(skill: str, runs: SkillRuns, everything: Mapping[str, float]) -> Iterator[Element]:
    """Everything that logs tell of one skill.

    Args:
        skill: Its name.
        runs: What they tell.
        everything: US dollars each LLM would have cost by itself, by name.
    """
    yield el("p", _summary(runs))
    yield el(
        "div",
        charts.served(skill, runs.served),
        charts.reasons_over_time(skill, timeline(runs)),
        class_="grid",
    )
    if runs.weak:
        rows: list[list[Node]] = [
            [el("code", path), f"{count:,}", percent(count / runs.calls)]
            for path, count in runs.weak.most_common()
        ]
        found = table(["field", "calls", "share"], rows, "Fields that were not sure enough")
        yield el("div", found, class_="wide")
    yield el("h4", "Models")
    yield el("div", _models(runs), class_="wide")
    yield el("h4", "Money")
    yield from _money(runs, everything)


def _summary(runs: SkillRuns) -> str:
    first, last = (
        when.strftime("%d %B %Y, %H:%M") if when else "" for when in (runs.first, runs.last)
    )
    said = (
        f"{runs.calls:,} call{'' if runs.calls == 1 else 's'} from {first} to {last} UTC. Half of "
        f"them took at most {_seconds(quantile(runs.seconds, 0.5))}, 95% at most "
        f"{_seconds(quantile(runs.seconds, 0.95))}."
    )
    if runs.compared:
        said += (
            f" The LLM said the same as the SLM's draft in {percent(runs.same / runs.compared)} of "
            f"{runs.compared:,} escalated calls that could be compared."
        )
    return said


def _models(runs: SkillRuns) -> Element:
    rows: list[list[Node]] = []
    for (role, rung, name), one in sorted(runs.models.items(), key=lambda each: each[0][1] or -1):
        price = "not known" if one.price is None else money(one.price)
        called = role.upper() if rung is None else f"{role.upper()} {rung + 1}"
        mean = _seconds(one.seconds / one.calls)
        rows.append([name, called, f"{one.calls:,}", f"{one.failed:,}", mean, price])
    heads = ["model", "as", "calls", "failed", "mean time", "mean price"]
    return table(heads, rows, "Model calls")


def _money(runs: SkillRuns, everything: Mapping[str, float]) -> Iterator[Element]:
    asked = runs.calls - runs.unasked
    avoided = asked - runs.asked_llm
    yield el(
        "p",
        f"{avoided:,} of {asked:,} calls asked no LLM. All calls together cost "
        f"{money(runs.usd)}"
        + (f", without {runs.unpriced:,} of unknown price." if runs.unpriced else "."),
    )
    priced = {name: usd for name, usd in everything.items() if usd > 0}
    if not priced:
        yield el(
            "p",
            "What the LLM for everything would cost cannot be told: no call of an LLM that costs "
            "something is in the log. LiteLLM knows the prices of hosted models; a model of your "
            "own reports them in Completion.usage.",
            class_="todo",
        )
        return
    rows: list[list[Node]] = [
        [name, money(usd), *_saved(runs, usd)] for name, usd in priced.items()
    ]
    heads = ["LLM", "for everything", "spent", "saved"]
    yield el("div", table(heads, rows, "Against an LLM for everything"), class_="wide")
    yield el(
        "p",
        "The LLM for everything is taken at the mean price of its calls in the log. Where it was "
        "asked for weak fields only, whole answers would have cost more.",
        class_="note",
    )


def _saved(runs: SkillRuns, usd: float) -> list[Node]:
    if runs.unpriced:
        return [f"{money(runs.usd)} and more", "not known"]
    saved = usd - runs.usd
    share = f"{money(saved)} ({percent(saved / usd)})" if saved >= 0 else f"-{money(-saved)}"
    return [money(runs.usd), el("span", share, class_="good" if saved >= 0 else "bad")]


def _seconds(seconds: float) -> str:
    if seconds < 0.001:
        return "<1 ms"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
