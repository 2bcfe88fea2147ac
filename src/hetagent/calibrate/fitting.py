"""Fits calibrators to labelled answers, and chooses one by cross-validated log loss.

Temperature and Platt scaling, beta calibration (Kull, Silva Filho and Flach 2017), centred isotonic
regression (Oron and Flournoy 2017: linear between the centres of the blocks, so that answers keep
their order within what would be a flat block) and histogram binning see the raw confidence alone.
The combined ones are logistic regressions on all features: the same for all answers; with an offset
for each answer that is common enough; or, where there are few of these, with weights of its own for
each, since a probability of "nothing said" means something else than one of a copied text.
Needs scikit-learn: ``pip install 'hetagent[calibrate]'``.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from hetagent.calibrate.calibrator import FEATURES, OF_INPUT, Calibrator
from hetagent.calibrate.evidence_table import EvidenceTable
from hetagent.calibrate.measures import Floats, log_loss
from hetagent.errors import InputError, MissingExtraError

__all__ = ["KINDS", "Fit", "fit", "require_installed"]

_FOLDS = 5
_KNOTS = 129
_SMALL = 1e-4
_ByAnswer = Literal["", "offsets", "weights"]
_Fitter = Callable[[EvidenceTable, Any], Calibrator]

_MIN_ANSWERS = 5
# An answer has weights of its own where there are this many cases of it, and few such answers.
_MIN_APART = 30
_MOST_APART = 6


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibrator, and how it came to be chosen.

    Attributes:
        calibrator: Fitted on all answers given.
        held_out: Probability of each answer given by calibrators fitted on the other folds, in
            the order given; of shape (n,).
        losses: Cross-validated log loss by kind, in nats.
        folds: Rows of each fold; none where nothing was cross-validated.
    """

    calibrator: Calibrator
    held_out: Floats
    losses: dict[str, float]
    folds: tuple[Any, ...] = ()


def fit(
    table: EvidenceTable,
    correct: Any,
    *,
    kinds: Sequence[str] | None = None,
    of_input: bool = False,
    seed: int = 0,
) -> Fit:
    """Fit every kind, and choose the one whose predictions of unseen answers are best.

    A kind is judged by its log loss over the folds of a cross-validation. Among kinds that are
    about as good (within half a standard error of the best) the simplest is taken. Kinds that weigh
    more than the raw confidence need some right and some wrong answers to learn from, and take part
    only where there are 20 of each.

    Args:
        table: Evidence of n answers.
        correct: Whether each was right; booleans of shape (n,).
        kinds: Names to choose among; by default all of `KINDS` that there are answers enough for.
        of_input: Whether to weigh what is known of the input too. It tells how hard a call is for
            another model. For a model's own answer its own evidence tells more, and the rest is
            one more thing to fit.
        seed: Of the folds.

    Raises:
        InputError: There are fewer than two right or two wrong answers, so that nothing can be
            fitted; or an unknown kind.
        MissingExtraError: scikit-learn is not installed.
    """
    y = _checked(table, correct)
    table = table if of_input else table.without(OF_INPUT)
    few = min(y.sum(), (~y).sum()) < _TO_WEIGH
    names = list(kinds or (_OF_ONE if few else KINDS))
    unknown = set(names) - set(KINDS)
    if unknown:
        raise InputError(
            f"There is no calibrator {', '.join(sorted(unknown))}.",
            hint=f"Give {', '.join(KINDS)}.",
        )
    folds = _folds(y, seed)
    # Threads cost more than they bring on matrices this small, and much more on a busy machine.
    with _single_threaded():
        held_out = {name: _cross_fitted(KINDS[name], table, y, folds) for name in names}
        losses = {name: log_loss(p, y) for name, p in held_out.items()}
        chosen = _simplest(held_out, losses, y)
        return Fit(KINDS[chosen](table, y), held_out[chosen], losses, tuple(folds))


def _checked(table: EvidenceTable, correct: Any) -> Any:
    y = np.asarray(correct, dtype=bool)
    if y.shape != (len(table),):
        raise InputError(
            f"There are {len(table)} answers, and labels of shape {y.shape}.",
            hint="Give one label for each.",
        )
    if min(y.sum(), (~y).sum()) < 2:
        raise InputError(
            f"Of {len(y)} labelled answers {int(y.sum())} are right, so there is nothing to tell "
            "right from wrong by.",
            hint="Label more of them; at least two right and two wrong ones are needed.",
        )
    return y


def _raw(table: EvidenceTable, correct: Any) -> Calibrator:
    return _sigmoid("raw", {"log_odds": 1.0}, 0.0)


def _temperature(table: EvidenceTable, correct: Any) -> Calibrator:
    (slope,), _ = _logistic(table.column("log_odds")[:, None], correct, intercept=False)
    return _sigmoid("temperature", {"log_odds": max(slope, _SMALL)}, 0.0)


def _platt(table: EvidenceTable, correct: Any) -> Calibrator:
    (slope,), bias = _logistic(table.column("log_odds")[:, None], correct)
    return _sigmoid("platt", {"log_odds": max(slope, _SMALL)}, bias)


def _beta(table: EvidenceTable, correct: Any) -> Calibrator:
    """Kull et al.: log-odds a ln p - b ln(1 - p) + c, a and b not negative."""
    names = ["right", "wrong"]
    while names:
        columns = np.column_stack([table.column(name) for name in names])
        slopes, bias = _logistic(columns, correct)
        kept = [name for name, slope in zip(names, slopes, strict=True) if slope >= _SMALL]
        if kept == names:
            return _sigmoid("beta", dict(zip(names, slopes, strict=True)), bias)
        names = kept
    return _platt(table, correct)


def _isotonic(table: EvidenceTable, correct: Any) -> Calibrator:
    """Centred isotonic regression, with blocks shrunk by one answer towards the mean."""
    learn = _sklearn("isotonic")
    score = table.column("log_odds")
    flat = learn.IsotonicRegression(out_of_bounds="clip").fit_transform(score, correct)
    mean = float(correct.mean())
    levels, block = np.unique(flat, return_inverse=True)
    size = np.bincount(block)
    centres = np.bincount(block, weights=score) / size
    # Shrinking may put a small block below its neighbour; the running maximum keeps the order.
    shrunk = np.maximum.accumulate((levels * size + mean) / (size + 1))
    return _table("isotonic", centres, shrunk)


def _histogram(table: EvidenceTable, correct: Any) -> Calibrator:
    """Equal mass; each bin the mean of its labels and of one answer that is right on average."""
    score = table.column("log_odds")
    bins = max(2, min(15, len(score) // 20))
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, score, side="right")
    size = np.bincount(place, minlength=len(edges) + 1)
    right = np.bincount(place, weights=correct, minlength=len(edges) + 1)
    levels = (right + correct.mean()) / (size + 1)
    # A step is two knots as close as numbers go.
    steps = np.column_stack([np.nextafter(edges, -np.inf), edges]).ravel()
    return _table("histogram", steps, np.repeat(levels, 2)[1:-1])


def _combined(
    table: EvidenceTable,
    correct: Any,
    *,
    kind: str,
    strength: float,
    by_answer: _ByAnswer = "",
) -> Calibrator:
    known = _common(table, least=_MIN_ANSWERS) if by_answer else []
    apart = _common(table, least=_MIN_APART)[:_MOST_APART] if by_answer == "weights" else []
    used = np.nonzero(np.ptp(table.columns, axis=0) > _SMALL)[0]
    if not len(used) and not known:
        return _platt(table, correct)  # all answers look the same
    centre = table.columns[:, used].mean(axis=0)
    spread = table.columns[:, used].std(axis=0)
    standard = (table.columns[:, used] - centre) / spread
    marks = [(table.answers == answer).astype(float) for answer in known]
    apiece = [(table.answers == answer)[:, None] * standard for answer in apart]
    found, bias = _logistic(
        np.column_stack([standard, *marks, *apiece]), correct, strength=strength
    )
    shared, by_mark, by_piece = np.split(found, [len(used), len(used) + len(known)])
    offsets = dict(zip(known, by_mark.tolist(), strict=True))
    slopes = {}
    for answer, own in zip(apart, by_piece.reshape(len(apart), len(used)) / spread, strict=True):
        slopes[answer] = {FEATURES[i]: float(w) for i, w in zip(used, own, strict=True)}
        offsets[answer] = offsets.get(answer, 0.0) - float(own @ centre)
    weights = {FEATURES[i]: float(w) for i, w in zip(used, shared / spread, strict=True)}
    bias -= float((shared / spread) @ centre)
    return _sigmoid(kind, weights, bias, answers=offsets, slopes=slopes)


def _common(table: EvidenceTable, *, least: int) -> list[str]:
    """Answers given often enough to learn something of, the most common first."""
    counts = Counter(table.answers).most_common()
    return [one for one, n in counts if n >= least] if len(counts) > 1 else []


def _variant(kind: str, strength: float, *, by_answer: _ByAnswer = "") -> _Fitter:
    return functools.partial(_combined, kind=kind, strength=strength, by_answer=by_answer)


KINDS: dict[str, _Fitter] = {
    "raw": _raw,
    "temperature": _temperature,
    "platt": _platt,
    "beta": _beta,
    "histogram": _histogram,
    "isotonic": _isotonic,
    "combined": _variant("combined", 0.03),
    "combined freely": _variant("combined freely", 1.0),
    "combined by answer": _variant("combined by answer", 0.1, by_answer="offsets"),
    "each answer apart": _variant("each answer apart", 0.3, by_answer="weights"),
}
"""How to fit each kind, the simplest first."""

_OF_ONE = ("raw", "temperature", "platt", "beta", "histogram", "isotonic")
# About ten for each of the features that mostly tell something (Peduzzi et al., "A simulation study
# of the number of events per variable in logistic regression analysis", 1996) would be 60; the
# penalty does with fewer.
_TO_WEIGH = 20


def _cross_fitted(fitter: Any, table: EvidenceTable, correct: Any, folds: list[Any]) -> Floats:
    """Each answer's probability by a calibrator that has not seen it."""
    found = np.empty(len(table))
    for held_out in folds:
        seen = np.setdiff1d(np.arange(len(table)), held_out)
        calibrator = fitter(table.take(seen), correct[seen])
        found[held_out] = table.take(held_out).probabilities(calibrator)
    return found


def _folds(correct: Any, seed: int) -> list[Any]:
    """Rows of each fold, with equal shares of right answers."""
    random = np.random.default_rng(seed)
    kinds = [random.permutation(np.nonzero(correct == kind)[0]) for kind in (True, False)]
    number = min(_FOLDS, *map(len, kinds))
    return [np.sort(np.concatenate([rows[k::number] for rows in kinds])) for k in range(number)]


def _simplest(held_out: dict[str, Floats], losses: dict[str, float], correct: Any) -> str:
    """The first kind that is not clearly worse than the best, answer by answer."""

    def each(name: str) -> Floats:
        p = np.clip(held_out[name], 1e-12, 1 - 1e-12)
        return -np.where(correct, np.log(p), np.log1p(-p))

    best = min(losses, key=lambda name: losses[name])
    for name in losses:
        worse = each(name) - each(best)
        if worse.mean() <= 0.5 * worse.std() / math.sqrt(len(worse)):
            return name
    return best


def _logistic(
    columns: Floats, correct: Any, *, intercept: bool = True, strength: float = 1e4
) -> tuple[Floats, float]:
    """Weights and bias of a logistic regression.

    Args:
        columns: Of shape (n, d).
        correct: Booleans of shape (n,).
        intercept: Whether it has a bias.
        strength: Inverse of the penalty on squared weights. Nearly none by default; none at all
            would not end where right and wrong can be parted.
    """
    learn = _sklearn("linear_model")
    solver = "newton-cholesky" if intercept else "lbfgs"
    model = learn.LogisticRegression(
        C=strength, fit_intercept=intercept, solver=solver, max_iter=1000
    )
    model.fit(columns, correct)
    return model.coef_[0], float(model.intercept_[0]) if intercept else 0.0


def _single_threaded() -> AbstractContextManager[Any]:
    _sklearn("base")
    limits: AbstractContextManager[Any] = import_module("threadpoolctl").threadpool_limits(1)
    return limits


def require_installed() -> None:
    """Refuse at once what would fail for want of a package after all models have run.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise MissingExtraError("scikit-learn", extra="calibrate")


def _sklearn(module: str) -> Any:
    """A module of scikit-learn, imported where it is first needed."""
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingExtraError("scikit-learn", extra="calibrate") from error


def _sigmoid(
    kind: str,
    weights: dict[str, Any],
    bias: float,
    *,
    answers: dict[str, float] | None = None,
    slopes: dict[str, dict[str, float]] | None = None,
) -> Calibrator:
    """A logistic function of a weighted sum, as a table of it."""
    odds = np.linspace(-16, 16, _KNOTS)
    return Calibrator(
        kind,
        {name: float(weight) for name, weight in weights.items()},
        tuple((odds - bias).tolist()),
        tuple((1 / (1 + np.exp(-odds))).tolist()),
        answers or {},
        slopes or {},
    )


def _table(kind: str, scores: Floats, probabilities: Floats) -> Calibrator:
    return Calibrator(
        kind, {"log_odds": 1.0}, tuple(scores.tolist()), tuple(probabilities.tolist())
    )
