"""The monitor of certified error rates: false alarms, and how soon it sees a rise.

    python -m benchmarks.escalation.drift --json drift.json

Simulated audits, no data sets, about two minutes on one core. The runs are vectorised; before
anything is reported, some are given to the monitor itself, which must raise every alarm at the same
audit. Wald's test knows both error rates and asks at once; the monitor knows neither the rate to
come nor when it comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.report import CannotMeasureError, Report, arguments, main
from hetagent.calibrate.audits import Audits
from hetagent.calibrate.drift import FACTORS, DriftMonitor, unstaked

ALLOWED = (0.1, 0.05, 0.02, 0.01)
DOUBT = 0.05
QUIET_AUDITS = 20_000
QUIET_RUNS = 5_000
RUNS = 4_000

Reserve = Callable[[int, float], float]
"""Share of the money not yet staked once that many audits began, where that rate is allowed."""


def monitor_reserve(audits: int, allowed: float) -> float:
    return unstaked(audits, max_error=allowed)


def one_stake(audits: int, allowed: float) -> float:
    """All is staked at the first audit: a test, and no watch for a later rise."""
    return float(audits == 0)


def outcomes(
    rate: Callable[[int], float], *, audits: int, runs: int, seed: int
) -> Iterator[np.ndarray]:
    """For each audit, counted from 1, whether each run's answer was wrong."""
    generator = np.random.default_rng(seed)
    for audit in range(1, audits + 1):
        yield generator.random(runs) < rate(audit)


def alarms(
    allowed: float,
    wrong: Iterable[np.ndarray],
    *,
    runs: int,
    reserve: Reserve = monitor_reserve,
) -> np.ndarray:
    """The audit at which each run raises the alarm, counted from 1; infinite where none does."""
    factors, shares = (np.array(side)[:, None] for side in zip(*FACTORS.items(), strict=True))
    fair = 1 - allowed + allowed * factors
    money = np.zeros((len(factors), runs))
    found, alive = np.full(runs, math.inf), np.arange(runs)
    for audit, errors in enumerate(wrong, 1):
        kept = reserve(audit, allowed)
        money += (reserve(audit - 1, allowed) - kept) * shares
        money /= fair
        money[:, errors[alive]] *= factors
        raised = money.sum(0) + kept >= 1 / DOUBT
        if raised.any():
            found[alive[raised]] = audit
            money, alive = money[:, ~raised], alive[~raised]
            if not len(alive):
                break
    return found


def wald(allowed: float, wrong: Iterable[np.ndarray], *, runs: int, missed: float) -> np.ndarray:
    """Audits that Wald's test of ``allowed`` against its double takes in each run.

    ``missed`` is the share of doublings it may overlook; with 0 it only ever stops for an alarm.
    """
    if_wrong, if_right = math.log(2), math.log((1 - 2 * allowed) / (1 - allowed))
    upper = math.log((1 - missed) / DOUBT)
    lower = math.log(missed / (1 - DOUBT)) if missed else -math.inf
    ratio, taken, alive = np.zeros(runs), np.full(runs, math.inf), np.arange(runs)
    for audit, errors in enumerate(wrong, 1):
        ratio += np.where(errors[alive], if_wrong, if_right)
        done = (ratio >= upper) | (ratio <= lower)
        if done.any():
            taken[alive[done]] = audit
            ratio, alive = ratio[~done], alive[~done]
            if not len(alive):
                break
    return taken


def check(allowed: float, *, audits: int = 2000, runs: int = 40) -> None:
    """Compare the vectorised runs with the monitor.

    Raises:
        CannotMeasureError: They differ.
    """
    table = list(
        outcomes(lambda audit: allowed * (1 + audit / audits), audits=audits, runs=runs, seed=9)
    )
    expected = []
    for run in range(runs):
        monitor = DriftMonitor(allowed, confidence=1 - DOUBT)
        for errors in table:
            monitor.update(not errors[run])
        expected.append(monitor.drift_at or math.inf)
    if not np.array_equal(alarms(allowed, table, runs=runs), expected):
        raise CannotMeasureError("the simulation does not do what the monitor does")


def false_alarms(report: Report) -> None:
    """No rate here is ever above the allowed one."""
    rates: dict[str, Callable[[float, int], float]] = {
        "exactly the allowed rate": lambda allowed, _: allowed,
        "half of it": lambda allowed, _: allowed / 2,
        "half of it for 2,000 audits, then exactly": (
            lambda allowed, audit: allowed / (1 + (audit <= 2000))
        ),
    }
    shares = []
    for allowed in ALLOWED:
        for name, rate in rates.items():
            runs = QUIET_RUNS
            wrong = outcomes(
                lambda audit, rate=rate, allowed=allowed: rate(allowed, audit),
                audits=QUIET_AUDITS,
                runs=runs,
                seed=1,
            )
            raised = int(np.isfinite(alarms(allowed, wrong, runs=runs)).sum())
            shares.append(raised / runs)
            report.row(
                part="false alarms",
                allowed=allowed,
                rate=name,
                audits=QUIET_AUDITS,
                runs=runs,
                alarmed=raised / runs,
                alarmed_below=_upper(raised, runs),
            )
    report.target(
        "share of runs with a false alarm, the worst of all",
        value=max(shares),
        target=f"<= {DOUBT}",
        holds=max(shares) <= DOUBT,
    )


def rises_at_once(report: Report) -> None:
    """The rate is twice the allowed one from the first audit."""
    ratios: dict[str, list[float]] = {}
    for allowed in ALLOWED:
        size: dict[str, Any] = {"audits": round(400 / allowed), "runs": RUNS, "seed": 2}

        def wrong(size: dict[str, Any] = size, allowed: float = allowed) -> Iterator[np.ndarray]:
            return outcomes(lambda _: 2 * allowed, **size)

        taken = alarms(allowed, wrong(), runs=RUNS)
        ours = _summary(taken)
        report.row(part="twice the allowed rate at once", allowed=allowed, test="monitor", **ours)
        for name, missed in (("Wald, misses none", 0.0), ("Wald, may miss 5%", 0.05)):
            theirs = _summary(wald(allowed, wrong(), runs=RUNS, missed=missed))
            ratio = {key: ours[key] / theirs[key] for key in ("mean", "of_95%")}
            report.row(
                part="twice the allowed rate at once",
                allowed=allowed,
                test=name,
                **theirs,
                monitor_takes=ratio["mean"],
                monitor_takes_95=ratio["of_95%"],
            )
            if allowed < 0.1:
                ratios.setdefault(f"mean number, {name}", []).append(ratio["mean"])
                ratios.setdefault(f"95% quantile, {name}", []).append(ratio["of_95%"])
        if allowed == 0.1:
            soon = float(np.mean(taken <= 300))
            report.target(
                "0.10 allowed, 0.20 true: share of runs that alarm within 300 audits",
                value=soon,
                target=">= 0.95",
                holds=soon >= 0.95,
            )
    for name, found in ratios.items():
        report.target(
            f"audits for each of Wald's, the worst of 0.05, 0.02, 0.01: {name}",
            value=max(found),
            target="<= 1.5",
            holds=max(found) <= 1.5,
        )


def other_rises(report: Report) -> None:
    """Rates that the stakes do not favour."""
    allowed = 0.05
    for times in (1.25, 1.5, 3, 5, 10, 20):
        wrong = outcomes(lambda _, times=times: times * allowed, audits=40_000, runs=1000, seed=3)
        taken = alarms(allowed, wrong, runs=1000)
        report.row(part="other rates at once", allowed=allowed, times=times, **_summary(taken))


def later_rises(report: Report) -> None:
    """Half the allowed rate for a time, then twice the allowed rate."""
    for allowed, good, runs in (
        (0.1, 100, 2000), (0.1, 1000, 2000), (0.1, 10_000, 1000), (0.1, 100_000, 200),
        (0.02, 1000, 1000), (0.02, 10_000, 1000),
    ):  # fmt: skip
        for name, reserve in (("monitor", monitor_reserve), ("one stake", one_stake)):
            wrong = outcomes(
                lambda audit, good=good, allowed=allowed: (
                    allowed / 2 if audit <= good else 2 * allowed
                ),
                audits=good + min(round(1000 / allowed), 50_000),
                runs=runs,
                seed=4,
            )
            taken = alarms(allowed, wrong, runs=runs, reserve=reserve) - good
            report.row(
                part="twice the allowed rate after good audits",
                allowed=allowed,
                good_audits=good,
                test=name,
                **_summary(taken[taken > 0]),
                false_alarms=float(np.mean(taken <= 0)),
            )


def verdicts_late_and_lost(report: Report) -> None:
    """Verdicts come up to 200 answers late, or never; or those on errors come first."""
    for true, lost, errors_wait in (
        (0.1, 0.5, False),
        (0.1, 0.0, False),
        (0.2, 0.0, True),
        (0.2, 0.1, True),
        (0.2, 0.2, True),
    ):
        found, arrival = zip(
            *(
                _with_delays(run, true=true, lost=lost, errors_wait=errors_wait)
                for run in range(100)
            ),
            strict=True,
        )
        report.row(
            part="0.10 allowed; verdicts up to 200 answers late, or lost",
            true=true,
            late="all" if errors_wait else "right answers",
            lost=lost,
            runs=len(found),
            alarmed=float(np.isfinite(found).mean()),
            median=_quantile(found, 0.5),
            **{"of_95%": _quantile(found)},
            alarmed_if_fed_on_arrival=float(np.isfinite(arrival).mean()),
        )


def _with_delays(run: int, *, true: float, lost: float, errors_wait: bool) -> tuple[float, float]:
    """Answers drawn until the alarm: of the audits, and of a monitor fed as verdicts arrive."""
    generator = np.random.default_rng([5, run])
    audits = Audits(1.0, capacity=300)
    audits.watch("skill", max_error=0.1, confidence=1 - DOUBT)
    naive = DriftMonitor(0.1, confidence=1 - DOUBT)
    found, arrival = math.inf, math.inf
    due: dict[int, list[tuple[str, bool]]] = {}
    for answer, (fate, chance, delay) in enumerate(generator.random((2000, 3)), 1):
        audits.draw(str(answer), ["skill"])
        correct = bool(fate >= true)
        at_once = not correct and not errors_wait
        if at_once or chance >= lost:
            comes = answer + (0 if at_once else int(delay * 200))
            due.setdefault(comes, []).append((str(answer), correct))
        for trace_id, verdict in due.pop(answer, []):
            audits.verdict(trace_id, verdict)
            naive.update(verdict)
        found = min(found, answer if audits.drift("skill") else math.inf)
        arrival = min(arrival, answer if naive.drift else math.inf)
    return found, arrival


def _summary(taken: np.ndarray) -> dict[str, Any]:
    """Of the audits taken; ``None`` where the alarm, or the decision, did not come."""
    mean = float(np.mean(taken))
    return {
        "runs": len(taken),
        "mean": mean if math.isfinite(mean) else None,
        "median": _quantile(taken, 0.5),
        "of_95%": _quantile(taken),
    }


def _quantile(taken: Any, share: float = 0.95) -> float | None:
    """The least number of audits within which that share of the runs was done."""
    found = float(np.quantile(taken, share, method="inverted_cdf"))
    return found if math.isfinite(found) else None


def _upper(events: int, runs: int) -> float:
    """The upper end of the 95% interval of Clopper and Pearson (1934)."""
    return float(beta.ppf(0.975, events + 1, runs - events)) if events < runs else 1.0


def measure(report: Report) -> None:
    """Everything, into the report."""
    for allowed in ALLOWED:
        check(allowed)
    false_alarms(report)
    rises_at_once(report)
    other_rises(report)
    later_rises(report)
    verdicts_late_and_lost(report)


if __name__ == "__main__":
    main(lambda report, options: measure(report), arguments(__doc__ or ""))
