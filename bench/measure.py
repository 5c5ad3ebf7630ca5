"""Interleaved timing: every round runs each candidate once, so that a busy moment hits all."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: One candidate: does the work once and returns its seconds.
Once = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Sample:
    """The seconds that one candidate took, round by round."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        return min(self.seconds)


def interleaved(candidates: Mapping[str, Once], rounds: int) -> list[Sample]:
    """Time all candidates; the order turns round every time, so that none always comes first."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            times[name].append(candidates[name]())
    return [Sample(name, tuple(seconds)) for name, seconds in times.items()]


def command(argv: Sequence[str], environment: Mapping[str, str], *, timeout: float = 1200) -> float:
    """Seconds until the program has ended; one that fails stops the benchmark."""
    started = time.monotonic()
    done = subprocess.run(
        argv, env=dict(environment), capture_output=True, timeout=timeout, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip()
        raise SystemExit(f"{' '.join(argv[:6])}: status {done.returncode}\n{text[-3000:]}")
    return seconds


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure must not exceed: a ratio to ``against``, or plain milliseconds or MiB."""

    limit: float
    against: str = ""
    unit: str = "ms"


def report(title: str, samples: Sequence[Sample], goals: Mapping[str, Goal]) -> list[str]:
    """The lines of one benchmark: medians, best, and each goal met or not."""
    by_name = {sample.name: sample for sample in samples}
    width = max(len(sample.name) for sample in samples)
    lines = [f"{title} (n={len(samples[0].seconds)}, interleaved)"]
    for sample in samples:
        line = f"  {sample.name:<{width}}  median {_time(sample.median)}  min {_time(sample.least)}"
        goal = goals.get(sample.name)
        if goal and goal.against:
            ratio = sample.median / by_name[goal.against].median
            line += f"  {ratio:.3f} x {goal.against}{_verdict(ratio, goal.limit)}"
        elif goal:
            line += _verdict(sample.median * 1000, goal.limit, " ms")
        lines.append(line)
    return lines


def figure(name: str, value: float, goal: Goal) -> str:
    """One line for a figure that is not a time."""
    return f"  {name}  {value:.1f} {goal.unit}{_verdict(value, goal.limit, f' {goal.unit}')}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:7.1f} ms" if seconds < 1 else f"{seconds:7.2f} s "


def _verdict(value: float, limit: float, unit: str = "") -> str:
    return f"  (goal {limit:g}{unit}: {'met' if value <= limit else 'MISSED'})"
