"""The learning rate of the paper (Vaswani et al., 2017, section 5.3): up a straight line, then down like one over the root of the step."""


def transformer_rate(step: int, width: int, warmup: int) -> float:
    """width^-½ · min(n^-½, n · warmup^-1½) for the n-th step, n = step + 1, so that step 0 has a rate too. Highest at n = warmup.

    `course_lib.scratch.schedules.warmup_inverse_sqrt` is the same curve, told by its peak.
    """
    if step < 0 or width < 1 or warmup < 1:
        raise ValueError(f"wanted a step of at least 0, a width and a warmup of at least 1, was given {step}, {width} and {warmup}")
    number = step + 1
    return width**-0.5 * min(number**-0.5, number * warmup**-1.5)
