"""What attention was measured to cost, from 64 to 4,096 tokens: the results that benchmarks/attention.py has written.

Dimensions: T tokens, B sentences, H heads, D width of a head.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from course_lib.measure import PowerLaw, power_law

RESULTS = Path(__file__).with_name("attention_costs.json")
FIT_FROM = 512  # tokens, from which fixed costs no longer count


@dataclass(frozen=True)
class Costs:
    """One machine's figures, forward and backward.

    seconds, peak_bytes, kept_bytes: way ("formula" or "kernel") → one number for each of `tokens`; peak_bytes is what was in use at most beyond the
    inputs, kept_bytes what autograd keeps for the way back, inputs included.
    """

    machine: str
    date: str
    command: str
    shape: str
    tokens: tuple[int, ...]
    seconds: dict[str, tuple[float, ...]]
    peak_bytes: dict[str, tuple[int, ...]]
    kept_bytes: dict[str, tuple[int, ...]]

    def law(self, what: str, way: str) -> PowerLaw:
        """The power law of "seconds", "peak_bytes" or "kept_bytes" from FIT_FROM tokens on."""
        first = next(place for place, count in enumerate(self.tokens) if count >= FIT_FROM)
        return power_law(self.tokens[first:], getattr(self, what)[way][first:])


def stored(device: str) -> Costs:
    """The stored figures of "cpu" or "cuda". KeyError when there are none."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    if device not in found:
        raise KeyError(f"no stored figures for {device!r}; there are {', '.join(found)}")
    record = found[device]
    series = {name: {way: tuple(values) for way, values in record.pop(name).items()} for name in ("seconds", "peak_bytes", "kept_bytes")}
    return Costs(tokens=tuple(record.pop("tokens")), **series, **record)
