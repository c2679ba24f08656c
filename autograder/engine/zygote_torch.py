"""UNTRUSTED SIDE. The zygote of chapters whose checks compute with torch: it has also made a first optimiser, with which torch loads for seconds.

python -m autograder.engine.zygote_torch CONTROL_FD WALLS
"""

from autograder.engine import zygote


def main() -> None:
    zygote.main(warm_up)


def warm_up() -> object:
    import torch

    weight = torch.zeros(2, 2, requires_grad=True)
    torch.nn.functional.cross_entropy(weight, torch.zeros(2, dtype=torch.int64)).backward()
    torch.optim.Adam([weight]).step()
    return zygote.warm_up()


if __name__ == "__main__":
    main()
