"""UNTRUSTED SIDE. The zygote of chapters whose checks compute with torch: it has also made a first optimiser, with which torch loads for seconds.

python -m autograder.engine.zygote_torch CONTROL_FD WALLS
"""

import torch

from autograder.engine import inside, keeper, zygote
from autograder.engine.begin import begin


def main() -> None:
    control, walls = begin()
    weight = torch.zeros(2, 2, requires_grad=True)
    torch.nn.functional.cross_entropy(weight, torch.zeros(2, dtype=torch.int64)).backward()
    torch.optim.Adam([weight]).step()
    shell = zygote.warm()
    keeper.run(control, walls, lambda stream: inside.Inside(stream, shell).serve())


if __name__ == "__main__":
    main()
