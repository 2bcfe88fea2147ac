"""Energy that the machine's CPU packages used, where Linux reports it and lets one read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["Energy"]

_POWERCAP = Path("/sys/class/powercap")
_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Energy:
    """The counters of all CPU packages at one moment (RAPL), everything that runs on them included.

    Attributes:
        counts: Microjoules by package, with the value after which the counter begins anew.
    """

    counts: dict[str, tuple[int, int]]

    @classmethod
    def now(cls, folder: Path = _POWERCAP) -> Self:
        """Read the counters; there are none where the machine has none, or keeps them from us."""
        counts = {}
        # intel-rapl:0 is a package; intel-rapl:0:0 is a part of it.
        for package in sorted(folder.glob("intel-rapl:*")):
            if package.name.count(":") != 1:
                continue
            try:
                count = int((package / "energy_uj").read_text(encoding="ascii"))
                most = int((package / "max_energy_range_uj").read_text(encoding="ascii"))
            except (OSError, ValueError):
                continue
            counts[package.name] = count, most
        return cls(counts)

    def since(self, before: Energy) -> float | None:
        """Joules used since then; ``None`` where that is not known.

        A counter that began anew more than once, after many minutes at full load, is not noticed.
        """
        if not self.counts or self.counts.keys() != before.counts.keys():
            return None
        used = 0
        for name, (count, most) in self.counts.items():
            earlier = before.counts[name][0]
            used += count - earlier if count >= earlier else count + most - earlier
        return used * _MICRO
