"""One training step of a Transformer encoder: ours against nn.TransformerEncoder. Prints both medians and their ratio.

    python benchmarks/transformer.py [--rounds 40]

A step is forward, backward and a step of SGD of two pre-norm layers, width 128, 4 heads, feed-forward 512, on a batch of 16 sentences of 32 tokens in
float32, a quarter of them padding, without dropout. Both start from the same weights, see the same batch and must end with the same weights, or
the script stops. Each is held to one thread. The two take turns, so that a busy moment of the machine falls on both; the first rounds warm up and are
not counted. The ratio is that of the medians; the interval holds the middle half of the ratios of neighbouring turns.
"""

# ruff: noqa: E402  (the variables must be set before the imports)

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read once, when the libraries load

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.nn.transformer.encoder import Encoder, LayerConfig

CONFIG, LAYERS, BATCH, LENGTH, LR, WARM_UP = LayerConfig(width=128, num_heads=4, hidden=512), 2, 16, 32, 0.01, 5


def main() -> None:
    parser = argparse.ArgumentParser(description="Encoder step against nn.TransformerEncoder, one thread each.")
    parser.add_argument("--rounds", type=int, default=40, help="turns that are counted, of each of the two")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours = Encoder(CONFIG, LAYERS)
    theirs = torch_twin(ours)
    x = torch.randn(BATCH, LENGTH, CONFIG.width)
    real = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    real[: BATCH // 2, LENGTH // 2 :] = False

    first = stepper(ours, lambda: ours(x, real[:, None, :]), real)
    second = stepper(theirs, lambda: theirs(x, src_key_padding_mask=~real), real)
    times = np.array([(clock(first), clock(second)) for _ in range(WARM_UP + rounds)])[WARM_UP:] * 1e3
    for name, param in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], param, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: trained apart\n{text}")

    mine, torchs = np.median(times, axis=0)
    low, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.75])
    print(f"course_lib: {mine:.1f} ms a step")
    print(f"torch {torch.__version__}: {torchs:.1f} ms a step")
    print(f"ratio {mine / torchs:.2f} (middle half of {rounds} turns: {low:.2f} … {high:.2f})")


def torch_twin(ours: Encoder) -> nn.TransformerEncoder:
    """torch's encoder with the same weights."""
    layer = nn.TransformerEncoderLayer(CONFIG.width, CONFIG.num_heads, CONFIG.hidden, 0.0, batch_first=True, norm_first=True)
    twin = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(CONFIG.width), enable_nested_tensor=False)
    twin.load_state_dict(ours.state_dict())
    return twin


def stepper(model: nn.Module, forward: Callable[[], Tensor], real: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), LR)

    def step() -> None:
        optimizer.zero_grad()
        forward()[real].square().mean().backward()
        optimizer.step()

    return step


def clock(step: Callable[[], None]) -> float:
    """Seconds of one step."""
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
