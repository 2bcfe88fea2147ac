"""The plain classifier, as a model like any other."""

import enum
import math
import resource
import signal
from typing import Literal

import pytest

from hetagent import Certified, Orchestrator, skill
from hetagent.errors import InputError, ModelError, ModelFileError
from hetagent.learn.cluster.embed import wordllama
from hetagent.learn.select.classifier import Classifier
from hetagent.models.base import IdentifiedModel, Model


@pytest.fixture(scope="module")
def trained(guests, train):
    return Classifier.fit(guests, train)


def test_it_learns_what_guests_want(trained, guests, judged):
    agent = Orchestrator(trained, policy=0.0, progress=False)
    outcomes = agent.map(guests, [text for text, _ in judged])
    right = [one.value == label for one, (_, label) in zip(outcomes, judged, strict=True)]
    assert sum(right) >= 10
    for outcome in outcomes:
        assert outcome.served_by == "slm"
        assert outcome.evidence[""].margin is not None
        assert 1 / 3 <= outcome.confidence <= 1


def test_probabilities_are_of_all_labels_and_sum_to_one(trained, guests):
    agent = Orchestrator(trained, policy=0.999, progress=False)
    outcome = agent.run(guests, "Do you close at noon?")
    assert outcome.served_by == "none"
    assert outcome.draft is not None
    table = trained.probabilities(["Do you close at noon?", "a table for two", ""])
    assert table.shape == (3, 3)
    assert table.sum(axis=1) == pytest.approx([1, 1, 1])
    assert isinstance(trained, Model)
    assert isinstance(trained, IdentifiedModel)


def test_it_can_be_calibrated_and_certified(trained, guests, train, judged):
    agent = Orchestrator(trained, progress=False)
    certificate = agent.calibrate(guests, [*train, *judged], max_error=0.4, confidence=0.8)
    assert certificate.parts[""].threshold is not None
    assert certificate.depends_on["embedding"].startswith("wordllama ")
    certified = agent.with_options(policy=Certified(certificate))
    assert certified.run(guests, "Please cancel our table").value == "cancel"


def test_enums_and_bools_are_choices_too(judged):
    class Wish(enum.Enum):
        BOOK = "book"
        CANCEL = "cancel"
        HOURS = "hours"

    @skill
    def wish(message: str) -> Wish:
        """Decide what the guest wants."""

    @skill
    def asks(message: str) -> bool:
        """Decide whether the guest asks for the opening hours."""

    model = Classifier.fit(wish, judged)
    assert Orchestrator(model, policy=0.0).run(wish, judged[0][0]).value is Wish.BOOK
    model = Classifier.fit(asks, [(text, label == "hours") for text, label in judged])
    agent = Orchestrator(model, policy=0.0)
    assert agent.run(asks, judged[0][0]).value is False
    assert agent.run(asks, judged[-1][0]).value is True


def test_a_label_without_examples_is_never_chosen(judged):
    @skill
    def wish(message: str) -> Literal["other", "book", "cancel", "hours"]:
        """Decide what the guest wants."""

    model = Classifier.fit(wish, judged)
    table = model.probabilities([text for text, _ in judged])
    assert (table[:, 0] == 0).all()
    assert all(math.isclose(row.sum(), 1) for row in table)
    # Of two labels too, whose odds scikit-learn keeps in one row.
    two = [pair for pair in judged if pair[1] != "hours"]
    table = Classifier.fit(wish, two).probabilities([text for text, _ in two])
    assert (table[:, [0, 3]] == 0).all()
    assert [int(row.argmax()) for row in table] == [1] * 4 + [2] * 4


def test_what_it_cannot_answer_is_refused(trained, guests, train):
    @skill
    def people(message: str) -> int:
        """How many people?"""

    @skill
    def mood(message: str) -> Literal["glad", "sad"]:
        """How is the guest?"""

    for other, words in ((people, "no choice"), (mood, "a choice of other labels")):
        outcome = Orchestrator(trained).run(other, "A table for two")
        assert outcome.reason == "model_error"
        assert isinstance(outcome.error, ModelError)
        assert words in outcome.error.message
    with pytest.raises(InputError, match="does not answer with a choice"):
        Classifier.fit(people, [("two of us", 2), ("three of us", 3)])
    with pytest.raises(InputError, match="fewer than two labels"):
        Classifier.fit(guests, train[:5])


def test_its_file_is_the_same_model(trained, tmp_path):
    path = trained.save(tmp_path / "intent.npz")
    again = Classifier.load(path)
    texts = ["A table for two", "Are you open?"]
    assert (again.probabilities(texts) == trained.probabilities(texts)).all()
    assert again.identity() == trained.identity()
    assert again.name == "intent"


def test_a_broken_file_is_said_to_be_one(trained, tmp_path):
    path = trained.save(tmp_path / "intent.npz")
    whole = path.read_bytes()
    for content in (b"", whole[:40], whole[: len(whole) // 2], b"x" * 200, b"PK" + whole[2:100]):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match="no classifier that can be read"):
            Classifier.load(path)
    with pytest.raises(ModelFileError):
        Classifier.load(tmp_path / "none.npz")
    path.write_bytes(whole)
    with pytest.raises(ModelFileError, match="was trained on vectors of wordllama"):
        Classifier.load(path, embed=lambda texts: wordllama(texts)[:, ::-1])


def test_a_full_disk_leaves_the_file_there_was(trained, tmp_path):
    path = trained.save(tmp_path / "intent.npz")
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(ModelFileError, match="cannot be written"):
            trained.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == whole
    assert [one.name for one in tmp_path.iterdir()] == ["intent.npz"]
