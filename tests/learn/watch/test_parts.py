"""The tests that watching is made of: how often they are wrong, and what they find."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetagent.calibrate.bounds import allowed_errors
from hetagent.cli.watch import duration
from hetagent.errors import InputError
from hetagent.learn.cluster.embed import unit, wordllama
from hetagent.learn.convert import ConvertSettings
from hetagent.learn.inputs import Inputs, group_of
from hetagent.learn.tune.settings import TuneSettings
from hetagent.learn.watch import WatchSettings
from hetagent.learn.watch.calls import Asked, Drawn
from hetagent.learn.watch.figures import more_now, share_of
from hetagent.learn.watch.kinds import clusters_of, moves_of
from hetagent.learn.watch.moved import moved, nearness
from hetagent.learn.watch.needs import needed, room, shares_for
from tests.learn.watch.conftest import invoice
from tests.support.workload_calls import wish

BEGAN = datetime(2026, 9, 1, tzinfo=UTC)
SEEDS = 10


def inputs_of(texts):
    groups = np.array([group_of(text) for text in texts])
    return Inputs(unit(wordllama(texts)), groups, np.arange(len(texts)) % 2 == 0, len(texts), BEGAN)


def asked(texts):
    return [Asked(text, "refund", number % 2 == 0) for number, text in enumerate(texts)]


def test_chance_is_seldom_taken_for_change():
    options = WatchSettings(level=0.02)
    found = dict.fromkeys(("moves", "clusters", "share"), 0)
    for seed in range(SEEDS):
        draw = random.Random(seed)
        inputs = inputs_of([wish(draw)[0] for _ in range(120)])
        recent = asked([wish(draw)[0] for _ in range(60)])
        moves = moves_of(recent, inputs, embed=wordllama, settings=options)
        found["moves"] += moves.moved
        groups = clusters_of(recent, recent, inputs, embed=wordllama, settings=options)
        found["clusters"] += bool(groups)
        served = [(BEGAN + timedelta(minutes=n), draw.random() < 0.9) for n in range(200)]
        tried = sum(draw.random() < 0.9 for _ in range(100)) / 100
        found["share"] += share_of(served, expected=tried, calls=100, settings=options).fallen
    # Of ten looks at this level three find something with a probability below 0.001.
    assert max(found.values()) <= 2, found


def test_a_small_share_of_another_kind_is_found():
    draw = random.Random(1)
    inputs = inputs_of([wish(draw)[0] for _ in range(300)])
    texts = [(invoice if n % 8 == 0 else wish)(draw)[0] for n in range(240)]
    recent = asked(texts)
    moves = moves_of(recent, inputs, embed=wordllama, settings=WatchSettings())
    assert moves.moved
    assert all("invoice" in one or "VAT" in one for one in moves.examples)


def test_a_fall_of_the_share_is_dated():
    draw = random.Random(2)
    times = [BEGAN + timedelta(minutes=n) for n in range(800)]
    answered = [(time, draw.random() < (0.9 if n < 400 else 0.6)) for n, time in enumerate(times)]
    found = share_of(answered[::-1], expected=0.9, calls=200, settings=WatchSettings())
    assert found.fallen
    assert abs(found.since - times[400]) < timedelta(minutes=60)
    early = share_of(answered[:400], expected=0.9, calls=200, settings=WatchSettings())
    assert not early.fallen
    better = share_of(
        [(time, True) for time in times], expected=0.5, calls=200, settings=WatchSettings()
    )
    assert not better.fallen


def test_the_discrepancy_is_that_of_the_formula():
    draw = np.random.default_rng(3)
    before, now = (unit(draw.normal(size=(n, 8)).astype(np.float32)) for n in (20, 12))
    now[:, 0] += 1.0
    now = unit(now)
    found = moved(before, now, deals=99)
    every = np.concatenate([before, now]).astype(float)
    squared = ((every[:, None] - every[None]) ** 2).sum(-1)
    kernel = np.exp(-squared / np.median(squared[np.triu_indices(32, 1)]))
    xx, yy, xy = kernel[:20, :20], kernel[20:, 20:], kernel[:20, 20:]
    expected = (xx.sum() - 20) / 380 + (yy.sum() - 12) / 132 - 2 * xy.mean()
    assert found.distance == pytest.approx(expected, abs=1e-4)
    assert found.p_value == pytest.approx(0.01)
    same = moved(before, before.copy(), deals=99)
    assert same.p_value > 0.5


def test_an_input_that_comes_again_is_no_neighbour_of_itself():
    vectors = np.eye(3, dtype=np.float32)
    near, own = nearness(
        vectors, np.concatenate([vectors, vectors[:1]]), groups=np.array(list("abca"))
    )
    assert near.tolist() == [1, 1, 1]
    assert own.tolist() == [0, 0, 0, 0]


def test_inputs_come_back_from_bytes():
    draw = random.Random(4)
    inputs = inputs_of([wish(draw)[0] for _ in range(20)])
    packed = inputs.to_bytes()
    assert inputs.to_bytes() == packed
    again = Inputs.from_bytes(packed)
    assert (again.calls, again.until) == (20, BEGAN)
    assert again.groups.tolist() == inputs.groups.tolist()
    assert again.as_calls.tolist() == inputs.as_calls.tolist()
    assert np.abs(again.vectors - inputs.vectors).max() < 1e-3
    for broken in (b"", packed[:100], packed[: len(packed) // 2], b"{}"):
        with pytest.raises(InputError, match="cannot be read"):
            Inputs.from_bytes(broken)


@settings(max_examples=25)
@given(st.floats(0.02, 0.3), st.sampled_from([0.9, 0.95, 0.99]))
def test_room_is_for_one_error_and_no_less(rate, confidence):
    n = room(rate, confidence)
    assert allowed_errors(n, rate=rate, level=1 - confidence) >= 1
    assert allowed_errors(n - 1, rate=rate, level=1 - confidence) < 1


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_half_of_what_is_new_is_learned_from(new, earlier):
    shares = shares_for(new, earlier + new)
    assert sum(shares.values()) == pytest.approx(1)
    held = (1 - shares["train"]) * (earlier + new)
    assert held <= new / 2 + 1e-6
    assert ConvertSettings(shares=shares).shares == shares


def test_what_is_needed_grows_with_what_is_promised():
    strict, loose = (needed(ConvertSettings(max_error=one)) for one in (0.05, 0.1))
    assert strict > 1.8 * loose
    assert loose == 5 * room(0.1, 0.95)


def test_settings_come_back():
    written = ConvertSettings(
        tune=TuneSettings(epochs=2), permitted=frozenset({"trainable", "unknown"}), max_error=0.07
    )
    assert ConvertSettings.from_dict(written.to_dict()) == written
    with pytest.raises(InputError, match="no setting colour"):
        ConvertSettings.from_dict({"colour": 1})


def test_a_draw_takes_each_as_often():
    counts = np.zeros(50)
    for seed in range(300):
        drawn = Drawn(10, seed)
        for number in range(50):
            drawn.add(Asked(str(number), "", first=True))
        counts[[int(one.text) for one in drawn.kept]] += 1
    assert counts.sum() == 3000
    assert counts.min() > 30  # 60 each, with a deviation of 7
    assert counts.max() < 90


def test_more_now_is_fishers():
    # Fisher's tea: four of four cups against none of four.
    assert more_now(4, 4, 0, 4) == pytest.approx(1 / 70)
    assert more_now(0, 10, 5, 10) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(7)),
        ("2 w", timedelta(14)),
    ],
)
def test_spans_of_time(text, found):
    assert duration(text) == found


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-1h", "1y", "9999999999999w"])
def test_no_spans_of_time(text):
    with pytest.raises(InputError):
        duration(text)


@pytest.mark.parametrize(
    "wrong", [{"level": 0}, {"level": 0.001}, {"confidence": 1}, {"sample": 5}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        WatchSettings(**wrong)
