"""The loop learns, keeps the best weights, and goes on from where it was killed."""

import itertools
import random

import pytest
import torch

from hetagent.errors import InputError, ModelFileError
from hetagent.learn.tune.batches import Text
from hetagent.learn.tune.llama import LlamaNetwork, parameters
from hetagent.learn.tune.loop import evaluated, train
from hetagent.learn.tune.settings import TuneSettings

SETTINGS = TuneSettings(epochs=6, batch=8, evaluations=4, seed=3)


@pytest.fixture
def texts():
    """The answer is the prompt's last token but one, then the end."""
    draw = random.Random(1)
    found = []
    for _ in range(96):
        prompt = (1, 2, *(draw.randrange(3, 40) for _ in range(draw.randrange(2, 6))))
        found.append(Text(prompt, (prompt[-2], 60), (True, True)))
    return found


class Network:
    """A tiny network with its terms; can be told to be killed after some batches."""

    def __init__(self, weights_of):
        self._network = LlamaNetwork(weights_of(), dtype=torch.float32)
        factors = self._network.adapt(rank=8, scale=2.0, generator=torch.Generator().manual_seed(0))
        self.parameters = parameters(factors)
        self.left = -1

    def predictions(self, batch):
        if torch.is_grad_enabled():
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
        return self._network.predictions(batch)


def run(network, texts, **options):
    options = {"settings": SETTINGS, "rate": 0.02, **options}
    return train(
        network, network.parameters, learn=texts[:80], check=texts[80:], fixed=2, **options
    )


def test_it_learns(weights_of, texts):
    network = Network(weights_of)
    before, _ = evaluated(network, texts[80:], fixed=2, tokens=8192)
    seen = []
    history = run(network, texts, on_progress=seen.append)
    after, exact = evaluated(network, texts[80:], fixed=2, tokens=8192)
    assert after < 0.7 * before
    assert (history.done, history.steps, history.examples) == (60, 60, 480)
    assert [one.step for one in history.evaluations] == [15, 30, 45, 60]
    best = min(history.evaluations, key=lambda one: one.loss)
    assert (history.best, best.loss, best.exact) == (best.step, after, exact)
    assert [one.done for one in seen] == list(range(1, 61))
    assert seen[-1].seconds_left == 0


def test_a_step_of_long_texts_has_several_parts(weights_of, texts):
    whole = run(Network(weights_of), texts, settings=TuneSettings(epochs=1, batch=80))
    assert whole.done == 1
    parts = run(Network(weights_of), texts, settings=TuneSettings(epochs=1, batch=80, tokens=40))
    assert (parts.done, parts.examples) == (whole.done, whole.examples) == (1, 80)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    loss, other = parts.evaluations[0].loss, whole.evaluations[0].loss
    assert loss == pytest.approx(other, rel=1e-4)


def test_the_best_weights_are_kept(weights_of, texts):
    # Of these the first evaluation is the best: afterwards the rate destroys what was learned.
    network = Network(weights_of)
    settings = TuneSettings(epochs=6, batch=8, evaluations=30, patience=30)
    history = run(network, texts, settings=settings, rate=0.9)
    losses = [one.loss for one in history.evaluations]
    assert losses[-1] > min(losses)
    loss, _ = evaluated(network, texts[80:], fixed=2, tokens=8192)
    assert loss == pytest.approx(min(losses))


def test_it_ends_where_nothing_gets_better(weights_of, texts):
    settings = TuneSettings(epochs=6, batch=8, evaluations=30, patience=2)
    history = run(Network(weights_of), texts, settings=settings, rate=0.9)
    assert history.stopped == "patience"
    assert history.done < history.steps
    assert history.best == history.evaluations[-3].step


@pytest.mark.parametrize("killed_after", [1, 14, 15, 37, 59])
def test_a_killed_run_goes_on_to_the_same_weights(weights_of, texts, tmp_path, killed_after):
    whole = Network(weights_of)
    expected = run(whole, texts)
    path = tmp_path / "checkpoint.pt"
    for attempt in itertools.count():
        network = Network(weights_of)
        network.left = killed_after if attempt == 0 else -1
        try:
            history = run(network, texts, checkpoint=path, identity="a")
            break
        except KeyboardInterrupt:
            assert path.exists()
    assert attempt == 1
    for one, other in zip(network.parameters, whole.parameters, strict=True):
        assert torch.equal(one, other)
    assert history.losses == expected.losses
    assert history.evaluations == expected.evaluations


def test_a_checkpoint_of_something_else_is_refused(weights_of, texts, tmp_path):
    path = tmp_path / "checkpoint.pt"
    network = Network(weights_of)
    network.left = 3
    with pytest.raises(KeyboardInterrupt):
        run(network, texts, checkpoint=path, identity="a")
    with pytest.raises(ModelFileError, match="another run"):
        run(Network(weights_of), texts, checkpoint=path, identity="b")
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ModelFileError, match="cannot be read"):
        run(Network(weights_of), texts, checkpoint=path, identity="a")


def test_it_ends_in_time(weights_of, texts):
    settings = TuneSettings(epochs=1000, batch=8, minutes=0.02, patience=100, compiled=False)
    history = run(Network(weights_of), texts, settings=settings)
    assert 8 <= history.done == history.steps < 10_000
    assert history.seconds < 10


def test_without_examples_there_is_nothing_to_do(weights_of, texts):
    with pytest.raises(InputError, match="0 examples to learn"):
        train(Network(weights_of), [], learn=[], check=texts, fixed=2, rate=0.1, settings=SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"epochs": 0},
        {"batch": 0},
        {"warmup": 1.0},
        {"rate": -1.0},
        {"minutes": 0},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TuneSettings(**wrong)


def test_settings_are_written_and_read():
    assert TuneSettings.from_dict(SETTINGS.to_dict()) == SETTINGS
    with pytest.raises(InputError, match="colour"):
        TuneSettings.from_dict({"colour": 1})
