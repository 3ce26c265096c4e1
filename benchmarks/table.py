# SPDX-License-Identifier: MIT
"""The figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from benchmarks.imports import TARGET

if TYPE_CHECKING:
    from benchmarks.operations import Operation
    from benchmarks.rounds import Figure

OURS = "pycgroup"
LIMIT = "C"
VERDICTS = {True: "met", False: "NOT MET"}


def operation(entry: Operation, found: Mapping[str, Figure], peers: Iterable[str], missing: Iterable[str]) -> str:
    """Return the block of one operation: the limit, us, the baselines and the peers."""
    lines = [_head(f"{entry.name}  (1.00 = C {entry.limit_is}, {_time(found[LIMIT].cost)})")]
    for name, figure in found.items():
        if name != LIMIT:
            lines.append(_line(name, figure, found[OURS]) + (_target(entry, figure) if name == OURS else ""))
    lines += [f"  {name:<28}missing" for name in missing]
    behind = {name: found[name].cost / found[OURS].cost for name in peers if name in found}
    if entry.ahead and behind:
        nearest = min(behind, key=behind.__getitem__)
        met = VERDICTS[behind[nearest] >= entry.ahead]
        lines.append(f"  ahead of every peer by {entry.ahead:.1f}: {met} (nearest: {nearest}, {behind[nearest]:.2f})")
    return "\n".join(lines)


def imports(found: Mapping[str, Figure], nothing: str, missing: Iterable[str], loaded: Mapping[str, bool]) -> str:
    """Return the block of the imports, in milliseconds over the empty program."""
    base = found[nothing].cost
    lines = [_head(f"import, whole process  (1.00 = {nothing}, {base / 1e6:.1f} ms)")]
    for name, figure in found.items():
        if name != nothing:
            over = (figure.ratio - 1) * base / 1e6
            target = f"   target <= {TARGET:.1f} ms over: {VERDICTS[over <= TARGET]}" if name == OURS else ""
            lines.append(f"  {name:<28}{_ratio(figure)}{over:+11.2f} ms over{target}")
    lines += [f"  {name:<28}missing" for name in missing]
    facts = ", ".join(f"{module}: {'LOADED' if is_loaded else 'not loaded'}" for module, is_loaded in loaded.items())
    return "\n".join([*lines, f"  pycgroup and its classes load {facts}"])


def _head(text: str) -> str:
    return f"\n{text}\n{'-' * len(text)}"


def _line(name: str, figure: Figure, ours: Figure) -> str:
    beside = "" if figure is ours else f"{figure.cost / ours.cost:9.2f} x ours"
    return f"  {name:<28}{_ratio(figure)}{_time(figure.cost):>14}{beside}"


def _ratio(figure: Figure) -> str:
    spread = f"({figure.low:.2f}..{figure.high:.2f})"
    return f"{figure.ratio:8.2f}  {spread:<18}"


def _target(entry: Operation, figure: Figure) -> str:
    return f"   target <= {entry.target:.1f}: {VERDICTS[figure.ratio <= entry.target]}"


def _time(nanoseconds: float) -> str:
    return f"{nanoseconds / 1000:.2f} us"
