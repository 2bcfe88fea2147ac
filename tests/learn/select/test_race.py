"""Races: who is dropped when, what is measured once, what is chosen."""

import json
import resource
import signal
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Literal

import pytest

from hetagent import Answer, Scripted, skill
from hetagent.errors import InputError, MissingExtraError, ModelError, StoreError
from hetagent.learn.select.candidates import Candidate, Refused
from hetagent.learn.select.energy import Energy
from hetagent.learn.select.entrants import Entrant, entrants, given
from hetagent.learn.select.limits import Facts, Limits
from hetagent.learn.select.race import race
from hetagent.learn.select.result import Race
from hetagent.learn.select.run import select, split
from hetagent.learn.select.settings import SelectSettings

ROWS = [(f"row {number}", "yes" if number % 2 else "no") for number in range(200)]


@skill
def sign(text: str) -> Literal["yes", "no"]:
    """Say yes or no."""


class Played:
    """Has every ``miss``-th row wrong, and counts its calls."""

    def __init__(self, name, miss, *, delay=0.0):
        self.name = name
        self.miss = miss
        self.delay = delay
        self.calls = 0

    async def complete(self, request):
        self.calls += 1
        number = int(request.messages[-1].content.split()[-1])
        wrong = self.miss and number % self.miss == 0
        right = "yes" if number % 2 else "no"
        other = "no" if number % 2 else "yes"
        answer = Answer(other if wrong else right, delay=self.delay)
        return await Scripted(answer, name=self.name).complete(request)


def raced(models, *, baseline=(), **options):
    entered = [given(one, baseline=one.name in baseline) for one in models]
    options = {"tune": 0, "rungs": (16, 64), **options}
    return race(sign, [], ROWS, entrants=entered, **options)


def test_the_worse_half_is_dropped_at_each_rung():
    models = [Played(f"miss {m}", m) for m in (0, 50, 20, 10, 5, 4, 3, 2)]
    result = raced(models)
    rows = {one.name: one.rows for one in result.standings}
    assert rows["miss 0"] == 200
    assert sorted(rows.values()) == [16, 16, 16, 16, 64, 64, 200, 200]
    assert rows["miss 2"] == 16
    notes = {one.name: one.note for one in result.standings}
    assert notes["miss 2"] == "dropped after 16 rows: clearly worse"
    assert any("of the worse half" in note for note in notes.values())
    assert result.standings[0].name == "miss 0"
    assert result.standings[0].right == 200
    assert result.standings[0].interval[1] == 1.0
    # All rows, those of the first rung one by one too, and what warms up.
    assert models[1].calls < models[0].calls == 200 + 16 + 2 + 3


def test_baselines_stay_on_a_bounded_number_of_rows():
    models = [Played("good", 0), Played("poor", 2), Played("fair", 50)]
    result = raced(models, baseline=["poor", "fair"], baseline_rows=100)
    by_name = {one.name: one for one in result.standings}
    assert by_name["poor"].rows == 100
    assert by_name["poor"].finished
    assert by_name["fair"].rows == 200
    assert all(one.baseline == (one.name != "good") for one in result.standings)


def test_all_answer_the_same_rows_in_the_same_order():
    asked = {}

    class Asked(Played):
        async def complete(self, request):
            asked.setdefault(self.name, []).append(request.messages[-1].content)
            return await super().complete(request)

    raced([Asked("a", 9), Asked("b", 9)], rungs=(), concurrency=1, seed=4)
    assert asked["a"][-200:] == asked["b"][-200:]
    first = asked["a"][-200:]
    asked.clear()
    raced([Asked("a", 9)], rungs=(), concurrency=1, seed=5)
    assert asked["a"][-200:] != first
    assert sorted(asked["a"][-200:]) == sorted(first)


def test_an_entrant_that_cannot_run_is_out_and_the_race_goes_on():
    broken = Scripted(Answer(error=ModelError("It has no weights.")), name="broken")
    result = raced([broken, Played("good", 0)])
    last = result.standings[-1]
    assert (last.name, last.rows, last.quality) == ("broken", 0, None)
    assert last.note == "could not run: It has no weights."
    assert result.choice == "good"
    alone = raced([broken])
    assert alone.choice is None
    assert alone.why


def test_what_is_over_a_limit_is_not_chosen():
    slow = Played("slow", 0, delay=0.02)
    limits = Limits(p95_seconds=0.01)
    result = raced([slow, Played("quick", 10)], limits=limits)
    assert result.choice == "quick"
    by_name = {one.name: one for one in result.standings}
    assert by_name["slow"].rows == 16
    assert "is over the limit" in by_name["slow"].note
    result = raced([slow, Played("quick", 10)], limits=limits, baseline=["slow"])
    assert result.choice == "quick"
    assert next(one for one in result.standings if one.name == "slow").rows == 200


def test_measurements_are_reused(tmp_path):
    first = [Played("a", 0), Played("b", 7)]
    before = raced(first, to=tmp_path)
    again = [Played("a", 0), Played("b", 7)]
    after = raced(again, to=tmp_path)
    assert [one.calls for one in again] == [0, 0]
    assert after == before
    # A torn last line, as a power cut leaves it, costs one measurement and no more.
    file = tmp_path / "measurements.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    torn = [Played("a", 0), Played("b", 7)]
    assert raced(torn, to=tmp_path).choice == before.choice
    assert sorted(one.calls > 0 for one in torn) == [False, True]
    assert len(file.read_bytes().splitlines()) == len(lines)
    other = [Played("a", 0)]
    raced(other, to=tmp_path, seed=1)
    assert other[0].calls > 200


def test_an_interrupted_race_goes_on_where_it_was(tmp_path):
    done = Played("a", 0)
    script = (
        "import os, signal, sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from tests.learn.select.test_race import Played, raced\n"
        "class Killed(Played):\n"
        "    async def complete(self, request):\n"
        "        if self.calls > 20:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return await super().complete(request)\n"
        f"raced([Played('a', 0), Killed('b', 7)], to={str(tmp_path)!r})\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    raced([done, Played("b", 7)], to=tmp_path)
    # Of the first all but the rung that the killed race had done, and what warms up twice.
    assert done.calls == 200 - 16 + 2


def test_a_full_disk_is_said_and_leaves_what_was_kept(tmp_path):
    raced([Played("a", 0)], to=tmp_path)
    file = tmp_path / "measurements.jsonl"
    whole = file.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole), before[1]))
        with pytest.raises(StoreError, match=r"measurements\.jsonl cannot be written"):
            raced([Played("b", 0)], to=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert file.read_bytes() == whole


def test_only_the_best_is_tuned_and_joins_the_last_rung(tmp_path, tiny_path):
    small, large = (
        Candidate(name, name, tiny_path, Facts(size_bytes=size), 256)
        for name, size in (("small", 1), ("large", 2))
    )
    poor, good, perfect = Played("small", 3), Played("large", 8), Played("large tuned", 0)
    entered = [
        Entrant(name="small", kind="untuned", open=lambda: nullcontext(poor), base=small),
        Entrant(name="large", kind="untuned", open=lambda: nullcontext(good), base=large),
    ]
    tuned = []

    def tune(skill, examples, *, to, model, tell):
        tuned.append((to, list(examples), model.path))
        tell("training", SimpleNamespace(done=1, steps=2))
        return SimpleNamespace(
            facts={"seconds": 90.0}, model=lambda **options: nullcontext(perfect)
        )

    told = []
    result = race(
        sign,
        [("one", "yes")],
        ROWS,
        entrants=entered,
        tuner=tune,
        rungs=(16, 64),
        to=tmp_path,
        tell=lambda *what: told.append(what),
    )
    ((folder, examples, path),) = tuned
    assert folder.parent == tmp_path
    assert folder.name.startswith("large-")
    assert examples == [("one", "yes")]
    assert path == tiny_path
    assert ("tuning large: training", 1, 2) in told
    assert result.choice == "large tuned"
    best = result.standings[0]
    assert (best.kind, best.rows, best.tuning_seconds) == ("tuned", 200, 90.0)
    assert best.base == "large"
    assert best.file == str(folder / "adapter.gguf")

    def missing(skill, examples, *, to, model, tell):
        raise MissingExtraError("torch", extra="tune")

    result = race(sign, [("one", "yes")], ROWS, entrants=entered, tuner=missing, to=tmp_path)
    assert result.choice == "large"
    assert result.notes == (
        "Nothing was tuned: 'torch' is not installed. Install it: pip install 'hetagent[tune]'",
    )


def test_a_race_is_read_back_as_it_was_written():
    result = raced(
        [Played("a", 0), Played("b", 3)], refused=[Refused("c", "why")], notes=["One note."]
    )
    data = json.loads(json.dumps(result.to_dict()))
    assert data["standings"][0]["quality"] == 1.0
    assert Race.from_dict(data) == result
    with pytest.raises(InputError):
        Race.from_dict({**data, "format": 99})


def test_rows_to_learn_from_among_those_to_judge_by_are_pointed_out():
    result = race(sign, ROWS[:3], ROWS, entrants=[given(Played("a", 0))], tune=0)
    assert result.notes[0].startswith("3 of 200 rows to judge by are among those to learn from")


def test_cost_is_the_machine_s_price_for_the_time_of_calls():
    (one,) = raced([Played("a", 0)], machine_usd_per_hour=3.6).standings
    assert one.usd_per_1000 == pytest.approx(0.001 * one.machine_seconds_per_1000)
    (one,) = raced([Played("a", 0)]).standings
    assert one.usd_per_1000 is None


def test_there_must_be_entrants_and_rows():
    for entered in ([], [given(Played("a", 0))] * 2):
        with pytest.raises(InputError):
            race(sign, [], ROWS, entrants=entered)
    with pytest.raises(InputError, match="no rows"):
        race(sign, [], [], entrants=[given(Played("a", 0))])


def test_energy_is_the_difference_of_the_counters(tmp_path):
    def package(name, count):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "energy_uj").write_text(f"{count}\n")
        (folder / "max_energy_range_uj").write_text("1000000\n")

    assert Energy.now(tmp_path).since(Energy.now(tmp_path)) is None
    package("intel-rapl:0", 900_000)
    package("intel-rapl:1", 100_000)
    package("intel-rapl:0:0", 1)
    before = Energy.now(tmp_path)
    package("intel-rapl:0", 100_000)  # it began anew
    package("intel-rapl:1", 400_000)
    package("intel-rapl:0:0", 999_999)
    assert Energy.now(tmp_path).since(before) == pytest.approx(0.5)


def test_a_skill_is_served_by_the_classifier_where_that_wins(guests, train, judged, smol, tmp_path):
    settings = SelectSettings(models=(str(smol.path),), examples=0, tune=0)
    result = select(guests, train, validate=judged[1::3], settings=settings, to=tmp_path)
    assert {one.kind for one in result.standings} == {"classifier", "untuned"}
    assert all(one.baseline and one.rows == result.rows for one in result.standings)
    assert result.choice == "classifier"
    assert result.chosen.file
    model = next(one for one in result.standings if one.kind == "untuned")
    assert model.base == str(smol.path)
    assert model.p50_seconds > result.chosen.p50_seconds
    assert Race.from_dict(json.loads((tmp_path / "race.json").read_text())) == result
    assert (result.learned, result.rows) == (36, 4)


def test_rows_are_split_by_their_input(guests, train):
    learn, judging = split(guests, [*train, *train[:9]])
    assert not {text for text, _ in learn} & {text for text, _ in judging}
    assert len(learn) + len(judging) == 45
    assert 5 <= len(judging) <= 22
    with pytest.raises(InputError, match="too few"):
        split(guests, train[:1] * 40)


def test_what_has_no_choice_has_no_classifier(tiny_path):
    @skill
    def people(message: str) -> int:
        """How many people?"""

    one = Candidate("tiny", "tiny", tiny_path, Facts(size_bytes=1), 256)
    found, notes = entrants(people, [("two of us", 2)], [one], k=1)
    assert [(entrant.name, entrant.kind) for entrant in found] == [
        ("tiny", "untuned"),
        ("tiny +1 examples", "retrieved"),
    ]
    assert notes == ["No classifier: the answer is no choice."]
    result = race(people, [], [("two of us", 2)] * 3, entrants=found[1:], tune=0)
    (standing,) = result.standings
    assert 1_000_000 < standing.memory_bytes < 500_000_000
    assert standing.p50_seconds <= standing.p95_seconds
