"""`hetagent report`: the page is whole, says what is so, and fetches and runs nothing."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from hetagent import (
    Answer,
    Certificate,
    Certified,
    Orchestrator,
    Request,
    Scripted,
    Usage,
    skill,
)
from hetagent.calibrate.audits import Audits
from hetagent.cli.report import run_report
from hetagent.errors import CertificateError, InputError, RateLimitError
from hetagent.report.charts import percent
from hetagent.report.figures import certified_cost, expected_cost, llm_for_everything, timeline
from hetagent.report.markup import el, rendered
from hetagent.report.runs import ACCEPTED, SkillRuns, read_runs
from hetagent.report.svg import Axis

HOSTILE = '<script src="http://evil.example/x.js">alert(1)</script>"\'&\x00'
VOID = {"meta", "br", "hr", "img", "link", "input"}


@skill
def sign(text: str) -> Literal["plus", "minus"]:
    """Say which sign the number has."""


class Pair(BaseModel):
    left: int
    right: int = Field(alias="<b>right</b>")


@skill
def pair(text: str) -> Pair:
    """Copy the pair."""


def noisy(request: Request) -> Answer:
    number = float(request.messages[-1].content)
    sure = 0.5 + abs(number) / 2
    right, wrong = ("plus", "minus") if number > 0 else ("minus", "plus")
    flipped = random.Random(repr(number)).random() > sure
    return Answer(wrong if flipped else right, confidence=sure**0.3)


def oracle(request: Request) -> Answer:
    number = float(request.messages[-1].content)
    if 0 < number < 0.02:
        return Answer(error=RateLimitError("Slow down."))
    return Answer("plus" if number > 0 else "minus", usage=Usage(50, 0, 1, 0.002))


def drawn(count: int, seed: int) -> list[float]:
    numbers = random.Random(seed)
    return [numbers.uniform(-1, 1) for _ in range(count)]


class Made:
    """Certificates, a log and audits, made by really running skills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slm = Scripted(noisy, name="tiny")
        agent = Orchestrator(self.slm, progress=False)
        labelled = [(repr(x), "plus" if x > 0 else "minus") for x in drawn(1000, 0)]
        self.certificate = agent.calibrate(sign, labelled, max_error=0.1, confidence=0.9)
        self.path = self.certificate.save(folder / "sign.json")
        self.log = folder / "runs.jsonl"
        agent = Orchestrator(
            self.slm,
            llm=Scripted(oracle, name="openai/big"),
            policy=Certified(self.certificate),
            progress=False,
            log=self.log,
        )
        self.outcomes = agent.map(sign, [repr(x) for x in drawn(300, 1)])
        audits = Audits(1.0)
        audits.watch(self.certificate.id, max_error=0.1)
        for one in self.outcomes:
            if one.served_by == "slm" and audits.draw(one.trace_id, [self.certificate.id]):
                audits.verdict(one.trace_id, True)
        self.audits = folder / "audits.json"
        self.audits.write_text(json.dumps(audits.to_dict()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("report"))


class Parsed(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def page_of(folder: Path, **given: Any) -> tuple[str, Parsed]:
    out = folder / "page.html"
    facts: dict[str, Any] = {"certificates": [], "logs": [], "audits": [], "as_json": False}
    run_report(**{**facts, **given}, out=out)
    text = out.read_text(encoding="utf-8")
    return text, Parsed(text)


def figures_of(capsys: pytest.CaptureFixture[str], **given: Any) -> Any:
    facts: dict[str, Any] = {"certificates": [], "logs": [], "audits": [], "out": None}
    run_report(**{**facts, **given}, as_json=True)
    return json.loads(capsys.readouterr().out)


def check_page(text: str, page: Parsed) -> None:
    """What holds for every page."""
    assert text.startswith("<!DOCTYPE html>\n")
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "action", "style"):
            assert value is not None
            assert value.startswith("#")
    assert not re.search(r"@import|url\(", text)
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    targets = [value for name, value in page.attributes if name == "href"]
    assert {f"#{one}" for one in ids} >= set(targets)
    for name in ("aria-labelledby", "aria-describedby"):
        assert {value for key, value in page.attributes if key == name} <= set(ids)
    assert svgs(text)
    for drawing in svgs(text):
        picture = ElementTree.fromstring(drawing)
        if picture.get("aria-hidden") != "true":
            assert picture.get("role") == "img"
            assert picture.findtext("title")
            assert picture.findtext("desc")
        for one in picture.iter():
            numbers = [one.get(key, "0") for key in ("x", "y", "x1", "y1", "cx", "cy", "width")]
            numbers += re.split("[ ,]", one.get("points", "0"))
            assert all(abs(float(number)) < 100_000 for number in numbers)
            assert "nan" not in (one.get("points") or "")


def svgs(text: str) -> list[str]:
    """Every outermost svg element of a page."""
    found, depth, start = [], 0, 0
    for match in re.finditer(r"<svg\b|</svg>", text):
        if match[0] == "<svg":
            start = match.start() if depth == 0 else start
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                found.append(text[start : match.end()])
    return found


def test_a_page_of_everything(made: Made, tmp_path):
    text, page = page_of(tmp_path, certificates=[made.path], logs=[made.log], audits=[made.audits])
    check_page(text, page)
    assert "http:" not in text
    assert "https:" not in text
    assert made.certificate.guarantee in page.text
    assert made.certificate.id in page.text
    for value in made.certificate.depends_on.values():
        assert value in page.text
    for title in ("Risk and coverage", "Reliability", "Cost and quality", "Who served",
                  "Escalation reasons over time", "Money"):  # fmt: skip
        assert title in page.text
    part = made.certificate.parts[""]
    assert f"{part.errors} of {part.accepted} wrong" in page.text
    assert "openai/big" in page.text
    assert "holding: 0 of" in page.text
    assert page.tags["table"] >= page.tags["figure"] == 5
    assert page.tags["caption"] == page.tags["table"]


def test_a_certificate_that_knows_the_llm_has_a_page_too(made: Made, tmp_path):
    agent = Orchestrator(made.slm, llm=Scripted(oracle, name="openai/big"), progress=False)
    labelled = [(repr(x), "plus" if x > 0 else "minus") for x in drawn(400, 0)]
    found = agent.calibrate(sign, labelled, max_error=0.1, confidence=0.9, ask_llm=True)
    text, page = page_of(tmp_path, certificates=[found.save(tmp_path / "asked.json")])
    check_page(text, page)
    assert found.escalation is not None
    assert all(line in page.text for line in found.escalation.explain().splitlines())


def test_numbers_are_those_of_the_runs(made: Made, capsys):
    found = figures_of(capsys, certificates=[made.path], logs=[made.log], audits=[made.audits])
    (one,) = found["skills"]
    (certificate,) = one["certificates"]
    runs = one["runs"]
    assert certificate["id"] == made.certificate.id
    assert certificate["audits"]["state"] == "holding"
    assert runs["calls"] == len(made.outcomes) == found["outcomes"]
    assert runs["served"] == Counter(one.served_by for one in made.outcomes)
    assert runs["reasons"] == Counter(one.reason or ACCEPTED for one in made.outcomes)
    assert runs["usd"] == pytest.approx(sum(one.cost_usd or 0 for one in made.outcomes))
    assert runs["asked_llm"] == sum(one.escalated for one in made.outcomes)
    assert runs["llm_for_everything_usd"] == {"openai/big": pytest.approx(0.002 * 300)}
    same = [o.value == o.draft.value for o in made.outcomes if o.served_by == "llm" and o.draft]
    assert (runs["compared"], runs["same"]) == (len(same), sum(same))
    failed = sum(call.error is not None for one in made.outcomes for call in one.calls)
    assert sum(model["failed"] for model in runs["models"]) == failed > 0


def test_cost_and_quality_follow_from_the_curves(made: Made):
    certificate = made.certificate
    part = certificate.parts[""]
    certified = certified_cost(certificate)
    assert certified is not None
    assert certified.chosen is not None
    assert certified.chosen.escalated == pytest.approx(1 - part.accepted / part.n)
    assert certified.chosen.wrong == pytest.approx(part.errors / part.n)
    assert (certified.points[0].escalated, certified.points[0].wrong) == (1.0, 0.0)
    assert certified.points[-1].escalated == pytest.approx(0.0)
    runs = read_runs([made.log]).skills["sign"]
    expected = expected_cost(runs, certificate)
    assert expected is not None
    assert expected.chosen is not None
    accepted = [o for o in made.outcomes if o.served_by == "slm"]
    assert expected.chosen.escalated == pytest.approx(1 - len(accepted) / 300, abs=0.02)
    sure = [one.confidence or 0 for one in accepted]
    assert expected.chosen.wrong == pytest.approx(sum(1 - p for p in sure) / 300, abs=0.005)
    assert expected_cost(SkillRuns(), certificate) is None


def test_raw_and_calibrated_bins_are_in_the_certificate(made: Made):
    part = Certificate.load(made.path).parts[""]
    for bins in (part.curves.bins, part.curves.raw_bins):
        assert sum(n for _, _, n in bins) == part.n
    assert part.curves.bins != part.curves.raw_bins


def test_sections_without_data_say_how_to_get_it(made: Made, tmp_path):
    old = made.certificate.parts[""]
    bare = replace(old, curves=replace(old.curves, raw_bins=()))
    path = replace(made.certificate, parts={"": bare}).save(tmp_path / "old.json")
    text, page = page_of(tmp_path, certificates=[path])
    check_page(text, page)
    for words in ("--log", "--audits", 'log="runs.jsonl"', "has no raw bins", "is not known"):
        assert words in page.text
    text, page = page_of(tmp_path, logs=[made.log])
    check_page(text, page)
    assert "agent.calibrate(skill, examples)" in page.text


def test_where_nothing_is_promised_the_page_says_so(tmp_path):
    guess = Orchestrator(Scripted(lambda _: Answer("plus", confidence=0.9)), progress=False)
    labelled = [(repr(x), "plus" if x > 0 else "minus") for x in drawn(200, 3)]
    path = guess.calibrate(sign, labelled).save(tmp_path / "none.json")
    text, page = page_of(tmp_path, certificates=[path])
    check_page(text, page)
    assert "Nothing can be accepted without the LLM" in page.text
    assert "no number of labels" in page.text
    assert "With a probability of at least" not in page.text


def test_hostile_names_are_only_text(made: Made, tmp_path):
    fields = dict.fromkeys(("", HOSTILE), made.certificate.parts[""])
    hostile = replace(made.certificate, skill=HOSTILE, made=HOSTILE, parts=fields)
    hostile = hostile.bound_to({HOSTILE: HOSTILE, "calibrator": hostile.calibrators_digest})
    path = hostile.save(tmp_path / "hostile.json")
    log = tmp_path / "<script>.jsonl"
    lines = [json.loads(line) for line in made.log.read_text().splitlines()]
    for line in lines:
        line |= {"skill": HOSTILE, "weak": [HOSTILE], "reason": HOSTILE}
        line["calls"] = [call | {"model": HOSTILE} for call in line["calls"]]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text, page = page_of(tmp_path, certificates=[path], logs=[log])
    check_page(text, page)
    assert HOSTILE.replace("\x00", "\ufffd") in page.text
    assert "<script" not in text
    assert "\x00" not in text


def test_lines_that_are_none_are_counted_and_skipped(made: Made, tmp_path, capsys):
    good = made.log.read_text().splitlines()
    broken = json.loads(good[0])
    bad = [
        good[0][:100],
        "[]",
        "7",
        "{}",
        json.dumps(broken | {"format": 99}),
        json.dumps(broken | {"time": "yesterday"}),
        json.dumps(broken | {"seconds": float("nan")}),
        json.dumps(broken | {"calls": 3}),
        json.dumps(broken | {"served_by": "me"}),
        json.dumps(broken | {"basis": {"confidence": []}}),
        "\udcff\x00",
    ]
    log = tmp_path / "mixed.jsonl"
    content = "\n".join([*bad, *good[:20], "", good[20][:40]])
    log.write_bytes(content.encode("utf-8", "surrogateescape"))
    found = figures_of(capsys, logs=[log])
    assert (found["outcomes"], found["unreadable_lines"]) == (20, len(bad) + 1)
    assert found["skills"][0]["runs"]["calls"] == 20
    _text, page = page_of(tmp_path, logs=[log])
    assert f"{len(bad) + 1} lines could not be read" in page.text


def test_times_with_and_without_a_zone_go_together(made: Made, tmp_path):
    line = json.loads(made.log.read_text().splitlines()[0])
    log = tmp_path / "zones.jsonl"
    times = ["2026-03-01T10:00:00+00:00", "2026-03-01T10:00:00", "2026-03-01T12:30:00+02:00"]
    log.write_text("".join(json.dumps(line | {"time": time}) + "\n" for time in times))
    assert read_runs([log]).lines == 3


@pytest.mark.parametrize(
    "given", [{}, {"logs": ["missing.jsonl"]}, {"logs": ["folder"]}, {"logs": ["other.txt"]},
              {"certificates": ["missing.json"]}, {"audits": ["other.txt"]}],
)  # fmt: skip
def test_what_cannot_be_reported_on(made: Made, tmp_path, given):
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.txt").write_text("nothing of ours\n")
    given = {key: [tmp_path / name for name in names] for key, names in given.items()}
    if "audits" in given:
        given["certificates"] = [made.path]
    with pytest.raises((InputError, CertificateError)) as refused:
        page_of(tmp_path, **given)
    assert refused.value.hint


def test_an_empty_log_is_no_fault(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    _text, page = page_of(tmp_path, logs=[tmp_path / "empty.jsonl"])
    assert "0 outcomes" in page.text


def test_a_page_that_cannot_be_written(made: Made, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        run_report(certificates=[made.path], logs=[], audits=[], out=tmp_path / "no" / "page.html",
                   as_json=False)  # fmt: skip


def test_folders_of_certificates_and_equal_ones(made: Made, tmp_path, capsys):
    folder = tmp_path / "certificates"
    folder.mkdir()
    for name in ("a", "b"):
        made.certificate.save(folder / f"{name}.json")
    replace(made.certificate, made="2020-01-01T00:00:00+00:00").save(folder / "c.json")
    found = figures_of(capsys, certificates=[folder])
    made_at = [one["made"] for one in found["skills"][0]["certificates"]]
    assert made_at == [made.certificate.made, "2020-01-01T00:00:00+00:00"]


@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=40))
def test_a_timeline_has_every_outcome_in_its_stretch(minutes: list[int]):
    runs = SkillRuns()
    for minute in minutes:
        runs.minutes.setdefault(minute, Counter())[ACCEPTED] += 1
    found = timeline(runs)
    assert sum(one.get(ACCEPTED, 0) for one in found.counts) == len(minutes)
    assert len(found.starts) <= 31
    for start, counts in zip(found.starts, found.counts, strict=True):
        inside = sum(start <= minute < start + found.minutes for minute in minutes)
        assert counts.get(ACCEPTED, 0) == inside


@given(st.floats(1e-6, 1e6), st.floats(0, 1e3))
def test_ticks_are_within_their_axis(span: float, low: float):
    axis = Axis("", low, low + span, str)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(low - span * 1e-6 <= one <= low + span * (1 + 1e-6) for one in ticks)


@given(st.floats(0, 1))
def test_a_percentage_never_says_none_or_all_of_what_is_not(share: float):
    text = percent(share)
    assert (text == "0%") == (share == 0)
    assert (text == "100%") == (share == 1)


@given(st.text())
def test_any_text_stays_text(text: str):
    page = Parsed(rendered(el("p", el("b", text, title=text), text)))
    assert page.tags == {"p": 1, "b": 1}


def test_prices_that_are_not_known_are_not_made_up(made: Made, tmp_path):
    lines = [json.loads(line) for line in made.log.read_text().splitlines()]
    for line in lines:
        for call in line["calls"]:
            if call["role"] == "llm":
                call["cost_usd"] = line["cost_usd"] = None
    log = tmp_path / "unpriced.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    runs = read_runs([log]).skills["sign"]
    assert llm_for_everything(runs) == {}
    assert runs.unpriced == sum(one.escalated for one in made.outcomes)
    text, page = page_of(tmp_path, certificates=[made.path], logs=[log])
    check_page(text, page)
    assert f"without {runs.unpriced} of unknown price" in page.text
    assert "cannot be told" in page.text


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hetagent", *arguments],
        capture_output=True, text=True, cwd=cwd, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_the_command(made: Made, tmp_path):
    done = command("report", "--certificate", str(made.path), "--log", str(made.log), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Wrote report.html.\n"), done.stderr
    check_page(*(text := (tmp_path / "report.html").read_text(), Parsed(text)))
    refused = command("report", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "error: There is nothing to report on: There are no call records"
    )


def test_run_explains_and_logs(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from typing import Literal\n"
        "from hetagent import Answer, Scripted, skill\n"
        "@skill(model=Scripted(Answer('b', confidence=0.97), name='tiny'))\n"
        "def pick(text: str) -> Literal['a', 'b']:\n    'Pick one.'\n"
    )
    arguments = ("run", "mine:pick", "--input", "x", "--log", "runs.jsonl", "--explain")
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('pick: the SLM tiny answered "b".\nIt was sure enough.\n')
    done = command(*arguments, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["explanation"].startswith("pick: the SLM tiny answered")
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 2
