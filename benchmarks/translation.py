"""The translator of chapter 09 with one thing changed at a time, over seeds: writes course_lib/translation.json, which the chapter plots.

    python benchmarks/translation.py [--seeds 3] [--steps 600] [--resume]

Every variant is trained on the same numbers with the same seeds, steps and batches, and writes the same held-out numbers by greedy decoding. One
thread. Seconds depend on the machine; the shares only on the version of torch and the kind of processor.
"""

# ruff: noqa: E402  (the variables must be set before the imports)

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read once, when the libraries load

import argparse
import datetime
import json
import platform
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data.number_words import number_pairs
from course_lib.data.pairs import BOS
from course_lib.nn.transformer.encoder import LayerConfig
from course_lib.nn.transformer.masks import make_masks, padding_mask
from course_lib.nn.transformer.model import Transformer
from course_lib.translation import TranslationConfig, exact_share, train_translator
from course_lib.translation_results import Run

RESULTS = Path(__file__).parents[1] / "course_lib" / "translation.json"


class OneVector(Transformer):
    """The whole source pressed into one vector: the mean over its tokens of what the encoder gives."""

    def encode(self, source: Tensor) -> Tensor:
        memory, real = super().encode(source), (source != self.config.pad)[:, :, None]
        return (memory * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)  # (B, 1, W)

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        return super().decode(target, memory, source[:, :1])


class NoCausalMask(Transformer):
    """Every target token may read those after it."""

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        y = self.decoder(
            self._embed(self.target_embedding, target), memory, padding_mask(target, self.config.pad), padding_mask(source, self.config.pad)
        )
        return self.output(y)


class EncoderThrownAway(Transformer):
    """The decoder looks at the embedded source, not at what the encoder made of it."""

    def encode(self, source: Tensor) -> Tensor:
        return self._embed(self.source_embedding, source)


class Placeless(Transformer):
    """No places in the source, or in the target, or in either."""

    source_places, target_places = True, True

    def _embed(self, embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        wanted = self.source_places if embedding is self.source_embedding else self.target_places
        return super()._embed(embedding, tokens) if wanted else embedding(tokens) * self.positions.size(1) ** 0.5


class NoTargetPlaces(Placeless):
    """As the article has it."""

    target_places = False


class NoSourcePlaces(Placeless):
    """The source is a bag of words."""

    source_places = False


class ContextAlone(Transformer):
    """The decoder reads begin tokens alone: it knows the source and the place, and nothing of what is written."""

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        blank = torch.full_like(target, BOS)
        source_mask, target_mask = make_masks(source, blank, self.config.pad)
        return self.output(self.decoder(self._embed(self.target_embedding, blank), memory, target_mask, source_mask))


@dataclass(frozen=True)
class Variant:
    """A name, and what is other than in the chapter."""

    name: str
    make: type[Transformer] = Transformer
    training: dict = field(default_factory=dict)
    layer: dict = field(default_factory=dict)


VARIANTS = (
    Variant("as in this chapter"),
    Variant("no label smoothing", training={"smoothing": 0.0}),
    Variant("no warm-up", training={"ramp": False}),
    Variant("post-norm", layer={"norm": "post"}),
    Variant("post-norm, no warm-up", training={"ramp": False}, layer={"norm": "post"}),
    Variant("target without places", NoTargetPlaces),
    Variant("source without places", NoSourcePlaces),
    Variant("encoder thrown away", EncoderThrownAway),
    Variant("source pressed into one vector", OneVector),
    Variant("decoder from context alone", ContextAlone),
    Variant("no causal mask", NoCausalMask),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="The translator with one thing changed at a time.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--resume", action="store_true", help="keep what an interrupted run has written, and do the rest")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = [Run(**run) for run in json.loads(RESULTS.read_text())["runs"]] if arguments.resume and RESULTS.exists() else []
    for seed in range(arguments.seeds):
        for variant in VARIANTS:
            if any((run.variant, run.seed) == (variant.name, seed) for run in runs):
                continue
            runs.append(train_one(variant, seed, arguments.steps))
            print(runs[-1], flush=True)
            write(runs, arguments)


def train_one(variant: Variant, seed: int, steps: int) -> Run:
    pairs = number_pairs(seed=0)
    config = replace(TranslationConfig(steps=steps, seed=seed), **variant.training)
    begun = time.process_time()
    translator, losses = train_translator(pairs, config, LayerConfig(**variant.layer), make=variant.make)
    seconds = time.process_time() - begun
    return Run(variant.name, seed, float(np.mean(losses[-50:])), exact_share(translator, pairs.test), round(seconds, 1))


def write(runs: list[Run], arguments: argparse.Namespace) -> None:
    order = {variant.name: place for place, variant in enumerate(VARIANTS)}
    about = {
        "date": datetime.date.today().isoformat(),
        "command": f"python benchmarks/translation.py --seeds {arguments.seeds} --steps {arguments.steps}",
        "machine": f"{platform.machine()}, one thread",
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__}",
    }
    rows = [asdict(run) for run in sorted(runs, key=lambda run: (order[run.variant], run.seed))]
    RESULTS.write_text(json.dumps({**about, "runs": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
