"""What the exercises of chapter 04 demand. Trusted side: student code is reached only through `student`."""

import math

import numpy as np

from autograder.checking import at_most, case, close, exercise, finite, holds, inputs_unchanged, same
from course_lib.scratch import landscapes, optim, range_test, schedules

OPTIM = ("course_lib.scratch.optim", "course_lib.optimizers")


def walk(rule, start, slopes, **settings):
    """Where a student's rule goes: one row after each slope. The state that it gives back is handed to it the next time."""
    x, state, path = start, {}, []
    for slope in slopes:
        x, state = rule(x, slope, state, **settings)
        path.append(np.asarray(x, dtype=np.float64))
    return np.stack(path)


def expected(kind, start, slopes, **settings):
    """Where the reference goes."""
    x = np.array(start, dtype=np.float64)
    optimizer, path = kind({"x": x}, **settings), []
    for slope in slopes:
        optimizer.step({"x": slope})
        path.append(x.copy())
    return np.stack(path)


def away_from_zero(rng, shape):
    """Slopes of either sign and a size from 0.5 to 2, so that no draw is so small that eps matters."""
    return rng.choice([-1.0, 1.0], size=shape) * rng.uniform(0.5, 2, size=shape)


def moves(path, start):
    """The single steps of a path."""
    return np.diff(np.concatenate([np.asarray(start, dtype=np.float64)[None], path]), axis=0)


def two_walks(rule, start, slopes, **settings):
    """Where a student's rule goes on two walks that take turns; the slopes of the second are others."""
    one, other, state_one, state_other = start, start, {}, {}
    for slope in slopes:
        one, state_one = rule(one, slope, state_one, **settings)
        other, state_other = rule(other, -3 * slope, state_other, **settings)
    return [one, other]


def left_alone(student, rule, start, slopes, **settings):
    """Fails if any of the steps writes into its x or its slope."""
    x, state = start, {}
    for slope in slopes:
        x, state = rule(x, slope, state, **settings)
        holds(not {0, 1} & set(student.last_changed), "x or the slope was changed in place.")


def asked_in_turn(answers, count):
    """Fails unless these are `count` answers of the restless hill with no other between them."""
    found = np.asarray(answers, dtype=np.float64)
    holds(found.shape == (count,), f"{count} answers of the hill were wanted.")
    same(np.round(np.diff(found)) % len(landscapes.RESTLESS), np.ones(count - 1), "the number of calls from one answer to the next")


@exercise("optimizers.descend", points=2, reference=OPTIM)
def descend(student, rng):
    """Plain gradient descent, and the path that it leaves."""
    start = away_from_zero(rng, 2)
    with case("the first step goes lr times the slope downhill", hint="New point = old point - lr · slope. And row 0 of the path is the start."):
        path = student.descend(landscapes.saddle, start, 0.1, 1)
        close(path, np.stack([start, start - 0.1 * landscapes.saddle(start)[1]]))
    with case("the slope is measured anew at every point", hint="Call `hill` inside the loop, at the point where you are."):
        x, wanted = start, [start]
        for _ in range(12):
            x = x - 0.3 * landscapes.saddle(x)[1]
            wanted.append(x)
        close(student.descend(landscapes.saddle, start, 0.3, 12), np.stack(wanted))
    with case("any number of coordinates", hint="The path has shape (steps + 1, D), and D is len(start)."):
        wide = rng.normal(size=7)
        shrink = 1 - 0.05 * np.geomspace(1.0, landscapes.STEEPEST, 7)
        close(student.descend(landscapes.ravine, wide, 0.05, 9), wide * shrink ** np.arange(10)[:, None])
    with case("a start of whole numbers", hint="An integer array cannot hold 2.7: convert the start to float64 first."):
        close(student.descend(landscapes.saddle, np.array([3, 0]), 0.1, 5), np.stack([3 * 0.9 ** np.arange(6), np.zeros(6)], axis=1), dtype=True)
    with case("at too large a rate it flies off, and the path shows it", hint="No step is refused: the rule does not look at the height."):
        path = student.descend(landscapes.ravine, np.array([1.0, 1.0]), 0.1, 8)
        close(path, np.stack([0.9 ** np.arange(9), (-1.5) ** np.arange(9)], axis=1))
    with case("asks the hill once a step", hint="`height, slope = hill(x)`, once. A hill may draw a new batch each time that it is asked."):
        path = np.asarray(student.descend(landscapes.restless, start, 0.5, 8))
        asked_in_turn(-2 * np.diff(path[:, 0]), 8)
    with case("leaves the start as it was", hint="`x -= ...` writes into the caller's array; `x = x - ...` makes a new one.", side=True):
        student.descend(landscapes.saddle, start, 0.1, 3)
        inputs_unchanged(student)


@descend.right("a list of points")
def _(hill, start, lr, steps):
    path = [np.array(start, dtype=float)]
    for _ in range(steps):
        path.append(path[-1] - lr * hill(path[-1])[1])
    return np.array(path)


@descend.right("a table, filled row by row")
def _(hill, start, lr, steps):
    path = np.empty((steps + 1, len(start)))
    path[0] = start
    for row in range(steps):
        path[row + 1] = path[row] - lr * hill(path[row])[1]
    return path


FIRST, ANEW, WIDE, WHOLE, FLIES, ONCE = (
    "the first step goes lr times the slope downhill",
    "the slope is measured anew at every point",
    "any number of coordinates",
    "a start of whole numbers",
    "at too large a rate it flies off, and the path shows it",
    "asks the hill once a step",
)
descend.slip("uphill", ("path[-1] - lr", "path[-1] + lr"), of="a list of points", fails=(FIRST, ANEW, WIDE, WHOLE, FLIES, ONCE))
descend.slip("the slope at the start, always", ("hill(path[-1])[1]", "hill(path[0])[1]"), of="a list of points",
    fails=(ANEW, WIDE, WHOLE, FLIES))  # fmt: skip
descend.slip("only the last point", ("return np.array(path)", "return path[-1]"), of="a list of points",
    fails=(FIRST, ANEW, WIDE, WHOLE, FLIES, ONCE))  # fmt: skip
descend.slip("without the start", ("return np.array(path)", "return np.array(path[1:])"), of="a list of points",
    fails=(FIRST, ANEW, WIDE, WHOLE, FLIES, ONCE))  # fmt: skip
descend.slip("half the digits", ("return np.array(path)", "return np.array(path, dtype=np.float32)"), of="a list of points", fails=WHOLE)


@descend.wrong("one array, moved in place and listed again and again", fails=(FIRST, ANEW, WIDE, WHOLE, FLIES, ONCE))
def _(hill, start, lr, steps):
    x = np.array(start, dtype=float)
    path = [x]
    for _ in range(steps):
        x -= lr * hill(x)[1]
        path.append(x)
    return np.array(path)


@descend.wrong("the caller's array is moved, and whole numbers stay whole", fails=(WHOLE, "leaves the start as it was"))
def _(hill, start, lr, steps):
    path = [start.copy()]
    for _ in range(steps):
        start += (-lr * hill(start)[1]).astype(start.dtype)
        path.append(start.copy())
    return np.array(path)


@descend.wrong("a step that would lead uphill is halved until it does not", fails=(FLIES, ONCE))
def _(hill, start, lr, steps):
    path = [np.array(start, dtype=float)]
    for _ in range(steps):
        height, slope = hill(path[-1])
        rate = lr
        while rate > 1e-9 and hill(path[-1] - rate * slope)[0] > height:
            rate /= 2
        path.append(path[-1] - rate * slope)
    return np.array(path)


@descend.wrong("asks for the height and for the slope", fails=ONCE)
def _(hill, start, lr, steps):
    path, heights = [np.array(start, dtype=float)], []
    for _ in range(steps):
        heights.append(hill(path[-1])[0])
        path.append(path[-1] - lr * hill(path[-1])[1])
    return np.array(path)


@exercise("optimizers.quadratic_rates", points=3, reference=OPTIM)
def quadratic_rates(student, rng):
    """How fast a bowl allows you to be."""
    low, high, inner = rng.uniform(0.5, 1.5), rng.uniform(30, 40), rng.uniform(2, 25, size=4)
    curvatures = np.array([inner[0], high, inner[1], inner[2], low, inner[3]])
    with case("the limit: beyond it the steepest direction blows up", hint="|1 - lr·λ| < 1 must hold for every λ; which one fails first?"):
        close(student.quadratic_rates(curvatures)[0], 2 / high)
    with case("the best rate treats the flattest and the steepest direction alike", hint="Where does 1 - lr·λmin equal -(1 - lr·λmax)?"):
        close(student.quadratic_rates(curvatures)[1], 2 / (low + high))
    with case("the factor that is left of the distance after one step at the best rate", hint="Put the best rate into |1 - lr·λ|."):
        close(student.quadratic_rates(curvatures)[2], (high - low) / (high + low))
    with case("a round bowl is solved in one step", hint="With a single curvature the best rate is 1/λ, and nothing is left."):
        limit, best, left = student.quadratic_rates(np.array([4.0, 4.0]))
        close([limit, best, left], [0.5, 0.25, 0.0])
    with case("a walk with your rates does what they say", hint="At your best rate each step must leave at most your factor of the distance."):
        limit, best, left = student.quadratic_rates(curvatures)
        at_most(np.abs(1 - best * curvatures).max(), left + 1e-9, "the slowest direction's factor at your best rate")
        holds(bool(np.abs(1 - 0.999 * limit * curvatures).max() < 1), "Just below your limit, a direction still grows.")
        holds(bool(np.abs(1 - 1.001 * limit * curvatures).max() > 1), "Just above your limit, every direction still shrinks: it is not the limit.")
    with case("leaves the curvatures as they were", hint="`curvatures.sort()` sorts the caller's array; `np.sort(curvatures)` a copy.", side=True):
        student.quadratic_rates(curvatures)
        inputs_unchanged(student)


LIMIT = "the limit: beyond it the steepest direction blows up"
BEST = "the best rate treats the flattest and the steepest direction alike"
LEFT = "the factor that is left of the distance after one step at the best rate"
ROUND, WALK = "a round bowl is solved in one step", "a walk with your rates does what they say"


@quadratic_rates.right("through the condition number")
def _(curvatures):
    low, high = np.min(curvatures), np.max(curvatures)
    kappa = high / low
    return 2 / high, 2 / (low + high), (kappa - 1) / (kappa + 1)


@quadratic_rates.right("the factor by trying every direction")
def _(curvatures):
    best = 2 / (min(curvatures) + max(curvatures))
    return 2 / max(curvatures), best, max(abs(1 - best * curvature) for curvature in curvatures)


quadratic_rates.slip("the limit is 1/λ", ("return 2 / high,", "return 1 / high,"), of="through the condition number", fails=(LIMIT, ROUND, WALK))
quadratic_rates.slip("half of the limit as the best rate", ("2 / (low + high)", "1 / high"), of="through the condition number", fails=(BEST, WALK))
quadratic_rates.slip("a factor without the best rate: 1 - 1/κ", ("(kappa - 1) / (kappa + 1)", "1 - 1 / kappa"), of="through the condition number",
    fails=LEFT)  # fmt: skip
quadratic_rates.slip("the flattest direction sets the limit", ("return 2 / high,", "return 2 / low,"), of="through the condition number",
    fails=(LIMIT, WALK))  # fmt: skip


@quadratic_rates.wrong("sorts the caller's array", fails="leaves the curvatures as they were")
def _(curvatures):
    curvatures.sort()
    low, high = curvatures[0], curvatures[-1]
    return 2 / high, 2 / (low + high), (high - low) / (high + low)


@quadratic_rates.wrong("takes the first for the smallest and the last for the largest", fails=(LIMIT, BEST, LEFT, WALK))
def _(curvatures):
    low, high = curvatures[0], curvatures[-1]
    return 2 / high, 2 / (low + high), abs(high - low) / (high + low)


@exercise("optimizers.momentum", points=4, reference=OPTIM)
def momentum(student, rng):
    """Steps that remember."""
    start, slopes = rng.normal(size=(3, 2)), rng.normal(size=(15, 3, 2))
    with case(
        "the first step is that of gradient descent", hint="The velocity starts at 0, so the first one is the slope itself: no factor (1 - β)."
    ):
        close(walk(student.momentum, start, slopes[:1], lr=0.2)[0], start - 0.2 * slopes[0])
    with case("later steps remember the slopes before", hint="Put the new velocity into the state that you return, and take it out the next time."):
        close(walk(student.momentum, start, slopes, lr=0.05, beta=0.8), expected(optim.SGD, start, slopes, lr=0.05, momentum=0.8))
    with case("under a steady slope the steps grow to lr·slope/(1 - β)", hint="v ← βv + slope. With (1 - β) before the slope, v never exceeds it."):
        path = walk(student.momentum, np.zeros(2), [np.array([1.0, -3.0])] * 100, lr=0.1, beta=0.8)
        close(path[-1] - path[-2], np.array([-0.5, 1.5]), rtol=1e-6)
    with case("Nesterov looks ahead", hint="It steps along slope + β·v with the *new* v. With the old one you get ordinary momentum again."):
        found = walk(student.momentum, start, slopes, lr=0.05, beta=0.7, nesterov=True)
        close(found, expected(optim.SGD, start, slopes, lr=0.05, momentum=0.7, nesterov=True))
    with case("two walks do not disturb each other", hint="All memory must be in `state`. A variable outside the function is shared by all walks."):
        found = two_walks(student.momentum, start, slopes[:4], lr=0.1)
        close(found, [expected(optim.SGD, start, times * slopes[:4], lr=0.1, momentum=0.9)[-1] for times in (1, -3)])
    with case(
        "when the rate changes on the way, the next step has the new one",
        hint="Keep slopes in the velocity, and multiply by lr when you step. An lr inside the velocity stays there from step to step.",
    ):
        x, state, wanted, velocity = start, {}, start, 0.0
        for slope, lr in zip(slopes, (0.2, 0.02, 0.1), strict=False):
            x, state = student.momentum(x, slope, state, lr=lr)
            velocity = 0.9 * velocity + slope
            wanted = wanted - lr * velocity
        close(x, wanted)
    with case("leaves x and the slope as they were", hint="`x -= ...` writes into the caller's array; `x = x - ...` makes a new one.", side=True):
        left_alone(student, student.momentum, start, slopes[:3], lr=0.1)
        left_alone(student, student.momentum, start, slopes[:3], lr=0.1, nesterov=True)


@momentum.right("as in the text")
def _(x, grad, state, lr=0.1, beta=0.9, nesterov=False):
    velocity = beta * state.get("velocity", 0.0) + grad
    if nesterov:
        x = x - lr * (grad + beta * velocity)
    else:
        x = x - lr * velocity
    return x, {"velocity": velocity}


START, LATER, STEADY, AHEAD, TWO, RATES = (
    "the first step is that of gradient descent",
    "later steps remember the slopes before",
    "under a steady slope the steps grow to lr·slope/(1 - β)",
    "Nesterov looks ahead",
    "two walks do not disturb each other",
    "when the rate changes on the way, the next step has the new one",
)
UNTOUCHED = "leaves x and the slope as they were"


@momentum.right("the state changed in place")
def _(x, grad, state, lr=0.1, beta=0.9, nesterov=False):
    if "v" not in state:
        state["v"] = np.zeros_like(x)
    state["v"] *= beta
    state["v"] += grad
    return (x - lr * grad - lr * beta * state["v"] if nesterov else x - lr * state["v"]), state


momentum.slip("the slope weighted with 1 - β", ("+ grad\n    if", "+ (1 - beta) * grad\n    if"), of="as in the text",
    fails=(START, LATER, STEADY, AHEAD, TWO, RATES))  # fmt: skip
momentum.slip("nothing remembered", ('return x, {"velocity": velocity}', "return x, {}"), of="as in the text",
    fails=(LATER, STEADY, AHEAD, TWO, RATES))  # fmt: skip
momentum.slip("looks ahead with the old velocity", ("(grad + beta * velocity)", "velocity"), of="as in the text", fails=AHEAD)
momentum.slip("Nesterov forgets the slope", ("(grad + beta * velocity)", "(beta * velocity)"), of="as in the text", fails=AHEAD)
momentum.slip("lr twice", ("+ grad\n    if", "+ lr * grad\n    if"), of="as in the text",
    fails=(START, LATER, STEADY, AHEAD, TWO, RATES))  # fmt: skip
momentum.slip("x moved in place", ("        x = x - lr * velocity\n", "        x -= lr * velocity\n"), of="as in the text",
    fails=UNTOUCHED)  # fmt: skip
momentum.slip("x moved in place on Nesterov's way alone", ("x = x - lr * (grad + beta * velocity)", "x -= lr * (grad + beta * velocity)"),
    of="as in the text", fails=UNTOUCHED)  # fmt: skip


@momentum.wrong("the rate inside the velocity", fails=RATES)
def _(x, grad, state, lr=0.1, beta=0.9, nesterov=False):
    way = beta * state.get("way", 0.0) + lr * grad
    return x - (lr * grad + beta * way if nesterov else way), {"way": way}


@momentum.wrong("one memory for all walks", fails=TWO)
def _(x, grad, state, lr=0.1, beta=0.9, nesterov=False, memory=[0.0]):  # noqa: B006
    if not state:
        memory[0] = 0.0
    memory[0] = beta * memory[0] + grad
    return (x - lr * (grad + beta * memory[0]) if nesterov else x - lr * memory[0]), {"begun": True}


@exercise("optimizers.rmsprop", points=3, reference=OPTIM)
def rmsprop(student, rng):
    """Each coordinate with a step of its own."""
    start, slopes = rng.normal(size=(2, 3)), away_from_zero(rng, (15, 2, 3))
    with case("agrees with the formula over 15 steps"):
        found = walk(student.rmsprop, start, slopes, lr=0.03, alpha=0.9, eps=1e-3)
        close(found, expected(optim.RMSProp, start, slopes, lr=0.03, alpha=0.9, eps=1e-3))
    with case("a coordinate moves as if it were alone", hint="s has the shape of x: every coordinate keeps its own mean square."):
        together = np.stack([slopes[:, 0, 0], 1000 * slopes[:, 0, 1]], axis=1)
        found = walk(student.rmsprop, np.zeros(2), together, lr=0.1, alpha=0.9)
        close(found[:, :1], expected(optim.RMSProp, np.zeros(1), together[:, :1], lr=0.1, alpha=0.9), rtol=1e-5, atol=1e-6)
    with case("forgets: after 200 steps at a new slope the old ones do not count", hint="s is a moving mean: α of the old, 1 - α of the new square."):
        old_and_new = [np.array([50.0])] * 10 + [np.array([0.1])] * 200
        path = walk(student.rmsprop, np.zeros(1), old_and_new, lr=0.1, alpha=0.9)
        close(path[-1] - path[-2], np.array([-0.1]), rtol=1e-3)
    with case("a slope of exactly 0 moves nothing, and gives no NaN", hint="0/0 is not a number: eps keeps the denominator above 0."):
        path = walk(student.rmsprop, np.array([1.0, 2.0]), [np.array([0.0, 1.0])] * 3, lr=0.1, alpha=0.9)
        close(path, expected(optim.RMSProp, np.array([1.0, 2.0]), [np.array([0.0, 1.0])] * 3, lr=0.1, alpha=0.9))
    with case("two walks do not disturb each other", hint="All memory must be in `state`. A variable outside the function is shared by all walks."):
        found = two_walks(student.rmsprop, start, slopes[:4], lr=0.03, alpha=0.9)
        wanted = [expected(optim.RMSProp, start, times * slopes[:4], lr=0.03, alpha=0.9)[-1] for times in (1, -3)]
        close(found, wanted, rtol=1e-5, atol=1e-5)
    with case(
        "slopes of 1e-7 give steps as long as the formula says", hint="eps stands outside the root. Inside, 1e-8 would drown squares of 1e-14."
    ):
        tiny = 1e-7 * np.sign(slopes[:5])
        found = moves(walk(student.rmsprop, np.zeros((2, 3)), tiny, lr=0.1, alpha=0.9), np.zeros((2, 3)))
        close(found, moves(expected(optim.RMSProp, np.zeros((2, 3)), tiny, lr=0.1, alpha=0.9), np.zeros((2, 3))))
    with case("leaves x and the slope as they were", hint="`x -= ...` writes into the caller's array; `x = x - ...` makes a new one.", side=True):
        left_alone(student, student.rmsprop, start, slopes[:3])


AGREES, ALONE, FORGETS, NOTHING, TINY = (
    "agrees with the formula over 15 steps",
    "a coordinate moves as if it were alone",
    "forgets: after 200 steps at a new slope the old ones do not count",
    "a slope of exactly 0 moves nothing, and gives no NaN",
    "slopes of 1e-7 give steps as long as the formula says",
)


@rmsprop.right("as in the text")
def _(x, grad, state, lr=0.01, alpha=0.99, eps=1e-8):
    squares = alpha * state.get("squares", 0.0) + (1 - alpha) * grad**2
    return x - lr * grad / (np.sqrt(squares) + eps), {"squares": squares}


@rmsprop.right("towards the new square by a share of the difference")
def _(x, grad, state, lr=0.01, alpha=0.99, eps=1e-8):
    squares = state.setdefault("mean square", np.zeros(np.shape(grad)))
    squares += (1 - alpha) * (grad * grad - squares)
    return x - grad * (lr / (squares**0.5 + eps)), state


rmsprop.slip("AdaGrad: a sum that never forgets", ('alpha * state.get("squares", 0.0) + (1 - alpha)', 'state.get("squares", 0.0) + 1.0'),
    of="as in the text", fails=(AGREES, ALONE, FORGETS, NOTHING, TWO, TINY))  # fmt: skip
rmsprop.slip("one mean square for all coordinates", ("grad**2", "np.mean(grad**2)"), of="as in the text", fails=(AGREES, ALONE, NOTHING, TWO))
rmsprop.slip("eps inside the root", ("(np.sqrt(squares) + eps)", "np.sqrt(squares + eps)"), of="as in the text", fails=(AGREES, TINY))
rmsprop.slip("no eps", ("(np.sqrt(squares) + eps)", "np.sqrt(squares)"), of="as in the text", fails=(AGREES, NOTHING, TINY))
rmsprop.slip("no root", ("np.sqrt(squares)", "squares"), of="as in the text", fails=(AGREES, ALONE, FORGETS, NOTHING, TWO, TINY))
rmsprop.slip("α and 1 - α exchanged", ("alpha * state", "(1 - alpha) * state"), ("(1 - alpha) * grad", "alpha * grad"), of="as in the text",
    fails=(AGREES, ALONE, NOTHING, TWO, TINY))  # fmt: skip


@rmsprop.wrong("one memory for all walks", fails=TWO)
def _(x, grad, state, lr=0.01, alpha=0.99, eps=1e-8, memory=[0.0]):  # noqa: B006
    if not state:
        memory[0] = 0.0
    memory[0] = alpha * memory[0] + (1 - alpha) * grad**2
    return x - lr * grad / (np.sqrt(memory[0]) + eps), {"begun": True}


@rmsprop.wrong("the slope made into its square in place, once there is a memory", fails=UNTOUCHED)
def _(x, grad, state, lr=0.01, alpha=0.99, eps=1e-8):
    if not state:
        squares = (1 - alpha) * grad**2
        return x - lr * grad / (np.sqrt(squares) + eps), {"squares": squares}
    step = lr * grad
    grad *= grad
    squares = alpha * state["squares"] + (1 - alpha) * grad
    return x - step / (np.sqrt(squares) + eps), {"squares": squares}


ADAM_CASES = (
    "the first step is lr long in every coordinate, whatever the slope",
    "a steep neighbour does not slow a coordinate down",
    "a thousand times the slopes, the same path",
    "under a steady steep slope every step is lr long",
    "slopes of 1e-7 too",
    "a slope of exactly 0 moves nothing, and gives no NaN",
    "two walks do not disturb each other",
    "twenty steps agree with Adam",
)


@exercise("optimizers.mend_adaptive_momentum", points=5, reference=OPTIM, mends=ADAM_CASES)
def mend_adaptive_momentum(student, rng):
    """From a recursion that eats itself to Adam."""
    first, neighbour, scale, steady, tiny, level, two, agree = ADAM_CASES
    start, slopes = rng.normal(size=(2, 3)), away_from_zero(rng, (20, 2, 3))
    signs = rng.choice([-1.0, 1.0], size=4)
    with case(first, hint="Both averages start at 0, so after one step they hold only a share 1 - β of the slope: divide each by 1 - β**t, t = 1."):
        found = walk(student.mend_adaptive_momentum, np.zeros(4), [signs * np.array([0.05, 0.5, 3.0, 900.0])], lr=0.02)
        close(found[0], -0.02 * signs, rtol=1e-4)
    with case(neighbour, hint="‖grad‖² is one number for all coordinates. Keep a mean of grad**2 for each coordinate instead."):
        together = np.stack([slopes[:, 0, 0], 1000 * slopes[:, 0, 1]], axis=1)
        both = walk(student.mend_adaptive_momentum, np.zeros(2), together, lr=0.05)
        alone = walk(student.mend_adaptive_momentum, np.zeros(1), together[:, :1], lr=0.05)
        close(both[:, :1], alone)
        holds(bool(np.abs(moves(alone, np.zeros(1))).max() < 1), "Under slopes of about 1 a step was longer than 1, with lr = 0.05.")
    with case(scale, hint="If slopes grow, m and √s must grow alike. A state that is also its own coefficient does not: b·b + (1 - b)·grad²."):
        large = walk(student.mend_adaptive_momentum, start, 1000 * slopes, lr=0.05) - start
        close(large, walk(student.mend_adaptive_momentum, start, slopes, lr=0.05) - start, rtol=1e-4, atol=1e-6)
        holds(bool(np.abs(large).max() > 1e-3), "It hardly moved.")
    with case(steady, hint="If the memory's coefficient is a state that changes, it can leave the range from 0 to 1. beta2 must stay beta2."):
        path = walk(student.mend_adaptive_momentum, np.zeros(1), [np.array([3.0])] * 60, lr=0.05)
        finite(path, "the path")
        close(moves(path, np.zeros(1)), np.full((60, 1), -0.05), rtol=1e-4)
    with case(tiny, hint="eps stands outside the root: √s + eps. Inside, 1e-8 would drown squares of 1e-14."):
        found = moves(walk(student.mend_adaptive_momentum, np.zeros((2, 3)), 1e-7 * slopes, lr=0.05), np.zeros((2, 3)))
        close(found, moves(expected(optim.Adam, np.zeros((2, 3)), 1e-7 * slopes, lr=0.05), np.zeros((2, 3))))
    with case(level, hint="0/0 is not a number: eps keeps the denominator above 0."):
        path = walk(student.mend_adaptive_momentum, np.array([1.0, 2.0]), [np.array([0.0, 1.0])] * 3, lr=0.05)
        close(path, expected(optim.Adam, np.array([1.0, 2.0]), [np.array([0.0, 1.0])] * 3, lr=0.05))
    with case(two, hint="All memory must be in `state`, t as well. A variable outside the function is shared by all walks."):
        found = two_walks(student.mend_adaptive_momentum, start, slopes[:4], lr=0.05)
        wanted = [expected(optim.Adam, start, times * slopes[:4], lr=0.05)[-1] for times in (1, -3)]
        close(found, wanted, rtol=1e-5, atol=1e-5)
    with case(
        agree, hint="If the other cases pass: is m a mean with beta1, s one with beta2, and does the state keep them *before* their correction?"
    ):
        found = walk(student.mend_adaptive_momentum, start, slopes, lr=0.05, beta1=0.8, beta2=0.95, eps=1e-3)
        close(found, expected(optim.Adam, start, slopes, lr=0.05, betas=(0.8, 0.95), eps=1e-3))
    with case("leaves x and the slope as they were", hint="`x -= ...` writes into the caller's array; `x = x - ...` makes a new one.", side=True):
        left_alone(student, student.mend_adaptive_momentum, start, slopes[:3])


FIRST_STEP, NEIGHBOUR, SCALE, STEADY_STEP, TINY_STEP, LEVEL, TWO, AGREE = ADAM_CASES


@mend_adaptive_momentum.right("as in the text")
def _(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    t = state.get("t", 0) + 1
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * grad
    s = beta2 * state.get("s", 0.0) + (1 - beta2) * grad**2
    m_hat = m / (1 - beta1**t)
    s_hat = s / (1 - beta2**t)
    return x - lr * m_hat / (np.sqrt(s_hat) + eps), {"t": t, "m": m, "s": s}


@mend_adaptive_momentum.right("the corrections drawn into the rate, as in section 2 of the paper")
def _(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    t, m, s = state.get("all", (0, np.zeros_like(x), np.zeros_like(x)))
    t, m, s = t + 1, m + (1 - beta1) * (grad - m), s + (1 - beta2) * (grad * grad - s)
    root = math.sqrt(1 - beta2**t)
    return x - lr * root / (1 - beta1**t) * m / (np.sqrt(s) + eps * root), {"all": (t, m, s)}


mend_adaptive_momentum.slip("no corrections", ("m / (1 - beta1**t)", "m"), ("s / (1 - beta2**t)", "s"), of="as in the text",
    fails=(FIRST_STEP, STEADY_STEP, TINY_STEP, LEVEL, TWO, AGREE))  # fmt: skip
mend_adaptive_momentum.slip("only the squares corrected", ("m / (1 - beta1**t)", "m"), of="as in the text",
    fails=(FIRST_STEP, STEADY_STEP, TINY_STEP, LEVEL, TWO, AGREE))  # fmt: skip
mend_adaptive_momentum.slip("the correction of the first step kept for ever", ("(1 - beta1**t)", "(1 - beta1)"), ("(1 - beta2**t)", "(1 - beta2)"),
    of="as in the text", fails=(STEADY_STEP, TINY_STEP, LEVEL, TWO, AGREE))  # fmt: skip
mend_adaptive_momentum.slip("corrected twice, because the state keeps the corrected means", ('"m": m, "s": s', '"m": m_hat, "s": s_hat'),
    of="as in the text", fails=(STEADY_STEP, TINY_STEP, LEVEL, TWO, AGREE))  # fmt: skip
mend_adaptive_momentum.slip("steps counted from 0", ('state.get("t", 0) + 1', 'state.get("t", -1) + 1'), of="as in the text",
    fails=ADAM_CASES)  # fmt: skip
mend_adaptive_momentum.slip("one mean square for all coordinates", ("grad**2", "np.sum(grad**2)"), of="as in the text",
    fails=(FIRST_STEP, NEIGHBOUR, TINY_STEP, TWO, AGREE))  # fmt: skip
mend_adaptive_momentum.slip("eps inside the root", ("(np.sqrt(s_hat) + eps)", "np.sqrt(s_hat + eps)"), of="as in the text", fails=(TINY_STEP, AGREE))
mend_adaptive_momentum.slip(
    "the state is still its own coefficient",
    ("s = beta2 * state.get", 'b = state.get("s", beta2)\n    s = b * state.get'),
    ('("s", 0.0) + (1 - beta2) * grad**2', '("s", beta2) + (1 - b) * grad**2'),
    of="as in the text",
    fails=(FIRST_STEP, SCALE, STEADY_STEP, TINY_STEP, LEVEL, TWO, AGREE),
)
mend_adaptive_momentum.slip("no mean of the slopes", ("m = beta1 * state.get(\"m\", 0.0) + (1 - beta1) * grad", "m = (1 - beta1**t) * grad"),
    of="as in the text", fails=(TINY_STEP, TWO, AGREE))  # fmt: skip
mend_adaptive_momentum.slip("no eps", ("(np.sqrt(s_hat) + eps)", "np.sqrt(s_hat)"), of="as in the text", fails=(TINY_STEP, LEVEL, AGREE))


@mend_adaptive_momentum.wrong("one memory for all walks", fails=TWO)
def _(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, memory={}):  # noqa: B006
    if not state:
        memory.update(t=0, m=0.0, s=0.0)
    memory["t"] += 1
    memory["m"] = beta1 * memory["m"] + (1 - beta1) * grad
    memory["s"] = beta2 * memory["s"] + (1 - beta2) * grad**2
    m_hat, s_hat = memory["m"] / (1 - beta1 ** memory["t"]), memory["s"] / (1 - beta2 ** memory["t"])
    return x - lr * m_hat / (np.sqrt(s_hat) + eps), {"begun": True}


@mend_adaptive_momentum.wrong("x moved in place from the second step on", fails=UNTOUCHED)
def _(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    if not state:
        return x - lr * grad / (np.abs(grad) + eps), {"t": 1, "m": (1 - beta1) * grad, "s": (1 - beta2) * grad**2}
    t = state["t"] + 1
    m, s = beta1 * state["m"] + (1 - beta1) * grad, beta2 * state["s"] + (1 - beta2) * grad**2
    x -= lr * m / (1 - beta1**t) / (np.sqrt(s / (1 - beta2**t)) + eps)
    return x, {"t": t, "m": m, "s": s}


@exercise("optimizers.adamw", points=3, reference=OPTIM)
def adamw(student, rng):
    """Weights that shrink beside the walk, not in it."""
    start, slopes = rng.normal(size=(3, 2)), rng.normal(size=(12, 3, 2))
    with case("without decay it is Adam", hint="Does your step of Adam get lr, beta1, beta2 and eps as they were given?"):
        found = walk(student.adamw, start, slopes, lr=0.1, eps=1e-3, weight_decay=0.0)
        close(found, expected(optim.Adam, start, slopes, lr=0.1, eps=1e-3))
    with case(
        "where the slope is 0, each step takes the share lr · weight_decay away", hint="x ← x - lr · weight_decay · x, beside Adam's own step."
    ):
        found = walk(student.adamw, start, np.zeros((6, 3, 2)), lr=0.03, weight_decay=0.5)
        close(found, start * 0.985 ** np.arange(1, 7)[:, None, None])
    with case("the decay never enters the averages", hint="grad + weight_decay · x is the old way: Adam then divides the decay by √s too."):
        large = walk(student.adamw, start, 1000 * slopes, lr=0.1, weight_decay=0.3)
        close(large, expected(optim.AdamW, start, 1000 * slopes, lr=0.1, weight_decay=0.3), rtol=1e-4, atol=1e-5)
    with case("twelve steps agree with AdamW", hint="The share is taken of the weight before the step, as in the formula."):
        found = walk(student.adamw, start, slopes, lr=0.03, beta1=0.8, beta2=0.95, eps=1e-3, weight_decay=0.3)
        close(found, expected(optim.AdamW, start, slopes, lr=0.03, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3))
    with case("leaves x and the slope as they were", hint="`x *= ...` writes into the caller's array; `x = x * ...` makes a new one.", side=True):
        left_alone(student, student.adamw, start, slopes[:3], weight_decay=0.3)


NO_DECAY, SHARE, NEVER, TWELVE = (
    "without decay it is Adam",
    "where the slope is 0, each step takes the share lr · weight_decay away",
    "the decay never enters the averages",
    "twelve steps agree with AdamW",
)


@adamw.right("written out")
def _(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    decay = lr * weight_decay * x
    t = state.get("t", 0) + 1
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * grad
    s = beta2 * state.get("s", 0.0) + (1 - beta2) * grad**2
    step = lr * (m / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + eps)
    return x - step - decay, {"t": t, "m": m, "s": s}


@adamw.right("first the shrinking, then the step")
def _(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    x = (1 - lr * weight_decay) * x
    t, m, s = state.get("t", 0) + 1, state.get("m", 0 * x), state.get("s", 0 * x)
    m, s = m + (1 - beta1) * (grad - m), s + (1 - beta2) * (grad**2 - s)
    return x - lr * m / (1 - beta1**t) / (np.sqrt(s / (1 - beta2**t)) + eps), {"t": t, "m": m, "s": s}


adamw.slip("the decay added to the slope",
    ("    decay = lr * weight_decay * x\n", "    decay, grad = 0.0, grad + weight_decay * x\n"), of="written out",
    fails=(SHARE, NEVER, TWELVE))  # fmt: skip
adamw.slip("the share without lr", ("decay = lr * weight_decay * x", "decay = weight_decay * x"), of="written out", fails=(SHARE, NEVER, TWELVE))
adamw.slip("weights that grow", ("- decay,", "+ decay,"), of="written out", fails=(SHARE, NEVER, TWELVE))
adamw.slip("the sign of x instead of x", ("weight_decay * x\n", "weight_decay * np.sign(x)\n"), of="written out", fails=(SHARE, NEVER, TWELVE))
adamw.slip("the share of the weight after the step", ("x - step - decay,", "(x - step) * (1 - lr * weight_decay),"), of="written out",
    fails=(NEVER, TWELVE))  # fmt: skip
adamw.slip("a share with a rate of its own", ("decay = lr * weight_decay * x", "decay = 0.1 * weight_decay * x"), of="written out",
    fails=(SHARE, TWELVE))  # fmt: skip
adamw.slip("the usual eps, whatever is given", ("+ eps)", "+ 1e-8)"), of="written out", fails=(NO_DECAY, TWELVE))
adamw.slip("eps inside the root", ("(np.sqrt(s / (1 - beta2**t)) + eps)", "np.sqrt(s / (1 - beta2**t) + eps)"), of="written out",
    fails=(NO_DECAY, TWELVE))  # fmt: skip
adamw.slip("no decay at all", ("- decay,", ","), of="written out", fails=(SHARE, NEVER, TWELVE))


@exercise("optimizers.clip_by_global_norm", points=3, reference=OPTIM)
def clip_by_global_norm(student, rng):
    """A gradient that is too long is shortened as a whole."""
    grads = [rng.normal(size=(4, 3)) + 1, rng.normal(size=3) * 5, rng.normal(size=(2, 2, 2))]
    length = math.sqrt(sum(float((grad**2).sum()) for grad in grads))
    with case("too long: the direction stays, the length becomes max_norm", hint="One factor, max_norm / norm, for every array."):
        clipped, _ = student.clip_by_global_norm(grads, 0.5 * length)
        close(list(clipped), [0.5 * grad for grad in grads], rtol=1e-5)
    with case("short enough: nothing changes", hint="The factor is never above 1: clipping does not lengthen."):
        clipped, _ = student.clip_by_global_norm(grads, 3 * length)
        close(list(clipped), grads, rtol=1e-5)
    with case("reports the length that it found", hint="The root of the sum of all squares of all arrays, before clipping."):
        close([student.clip_by_global_norm(grads, bound * length)[1] for bound in (0.5, 3)], [length, length], rtol=1e-6)
    with case("one wild array shortens its neighbours too", hint="Clipping each array by its own length turns the direction of the whole."):
        clipped, _ = student.clip_by_global_norm([np.array([300.0, 400.0]), np.array([0.01])], 1.0)
        close(list(clipped), [np.array([0.6, 0.8]), np.array([0.00002])], rtol=1e-5)
    with case("zeros stay zeros", hint="0 / 0 is not a number: do not divide by a length of 0.", side=True):
        clipped, norm = student.clip_by_global_norm([np.zeros(3), np.zeros((2, 2))], 1.0)
        close(list(clipped), [np.zeros(3), np.zeros((2, 2))])
        close(norm, 0.0)
    with case("leaves the gradients as they were", hint="`grad *= factor` writes into the caller's arrays; make new ones.", side=True):
        student.clip_by_global_norm(grads, 0.1)
        inputs_unchanged(student)


LONG, SHORT, REPORT, WILD, ZEROS, KEPT = (
    "too long: the direction stays, the length becomes max_norm",
    "short enough: nothing changes",
    "reports the length that it found",
    "one wild array shortens its neighbours too",
    "zeros stay zeros",
    "leaves the gradients as they were",
)


@clip_by_global_norm.right("one factor")
def _(grads, max_norm):
    norm = np.sqrt(sum((grad**2).sum() for grad in grads))
    factor = min(1.0, max_norm / norm) if norm > 0 else 1.0
    return [factor * grad for grad in grads], norm


@clip_by_global_norm.right("laid end to end, with torch's small number in the denominator")
def _(grads, max_norm):
    norm = np.linalg.norm(np.concatenate([np.ravel(grad) for grad in grads]))
    return tuple(grad * np.minimum(max_norm / (norm + 1e-6), 1.0) for grad in grads), float(norm)


clip_by_global_norm.slip("lengthens too", ("min(1.0, max_norm / norm)", "max_norm / norm"), of="one factor", fails=SHORT)
clip_by_global_norm.slip("no root", ("np.sqrt(sum((grad**2).sum() for grad in grads))", "sum((grad**2).sum() for grad in grads)"), of="one factor",
    fails=(LONG, SHORT, REPORT, WILD))  # fmt: skip
clip_by_global_norm.slip("reports the length after clipping", ("grads], norm", "grads], factor * norm"), of="one factor", fails=REPORT)
clip_by_global_norm.slip("the largest array's length as the whole", ("np.sqrt(sum((grad**2).sum() for grad in grads))",
    "max(np.linalg.norm(grad) for grad in grads)"), of="one factor", fails=(LONG, REPORT))  # fmt: skip


@clip_by_global_norm.wrong("each array by its own length", fails=(LONG, WILD))
def _(grads, max_norm):
    clipped = [grad * min(1.0, max_norm / max(np.linalg.norm(grad), 1e-300)) for grad in grads]
    return clipped, np.sqrt(sum((grad**2).sum() for grad in grads))


@clip_by_global_norm.wrong("divides by a length of 0", fails=ZEROS)
def _(grads, max_norm):
    norm = np.sqrt(sum((grad**2).sum() for grad in grads))
    return [grad / norm * min(norm, max_norm) for grad in grads], norm


@clip_by_global_norm.wrong("each number cut off", fails=(LONG, WILD))
def _(grads, max_norm):
    return [np.clip(grad, -max_norm, max_norm) for grad in grads], np.sqrt(sum((grad**2).sum() for grad in grads))


@clip_by_global_norm.wrong("in place", fails=KEPT)
def _(grads, max_norm):
    norm = np.sqrt(sum((grad**2).sum() for grad in grads))
    for grad in grads:
        grad *= min(1.0, max_norm / max(norm, 1e-300))
    return grads, norm


@exercise("optimizers.warmup_cosine", points=3, reference="course_lib.scratch.schedules")
def warmup_cosine(student, rng):
    """Up a line, down half a wave."""
    total, warmup = int(rng.integers(80, 120)), int(rng.integers(8, 16))
    peak, floor = float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.2, 0.5))
    floor *= peak  # above the first rates of the warm-up
    setting = {"total": total, "warmup": warmup, "peak": peak, "floor": floor}
    with case(
        "warm-up: equal rises, from above 0 up to the peak at step `warmup`",
        hint="Step 0 has peak/(warmup + 1), not 0; step `warmup` has the peak. The floor is for the way down.",
    ):
        found = [student.warmup_cosine(step, **setting) for step in range(warmup + 1)]
        close(np.array(found), peak * np.arange(1, warmup + 2) / (warmup + 1))
    with case("half-way down it is half-way between peak and floor", hint="Progress runs from 0 at step `warmup` to 1 at step `total`."):
        close(student.warmup_cosine(40, total=70, warmup=10, peak=peak, floor=floor), (peak + floor) / 2)
    with case("all the way down it is half a cosine wave", hint="floor + (peak - floor) · (1 + cos(π · progress)) / 2."):
        found = [student.warmup_cosine(step, **setting) for step in range(warmup, total)]
        close(np.array(found), np.array([schedules.warmup_cosine(step, **setting) for step in range(warmup, total)]))
    with case("at the end and after it: the floor", hint="A cosine rises again after π: do not let progress exceed 1."):
        close([student.warmup_cosine(step, **setting) for step in (total, total + 7, 3 * total)], [floor] * 3)
    with case("without warm-up it starts at the peak", hint="With warmup = 0, step 0 is the top of the cosine."):
        found = [student.warmup_cosine(step, total=50, warmup=0, peak=peak) for step in (0, 25)]
        close(found, [peak, peak / 2])


RISE, HALF, WAVE, END, COLD = (
    "warm-up: equal rises, from above 0 up to the peak at step `warmup`",
    "half-way down it is half-way between peak and floor",
    "all the way down it is half a cosine wave",
    "at the end and after it: the floor",
    "without warm-up it starts at the peak",
)


@warmup_cosine.right("as in the text")
def _(step, total, warmup, peak, floor=0.0):
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / (total - warmup))
    return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2


@warmup_cosine.right("through the square of the cosine of half the angle")
def _(step, total, warmup, peak, floor=0.0):
    if step >= total:
        return floor
    if step <= warmup:
        return peak / (warmup + 1) * (step + 1)
    share = np.cos(np.pi / 2 * (step - warmup) / (total - warmup)) ** 2
    return share * peak + (1 - share) * floor


warmup_cosine.slip("the first step wasted at rate 0", ("peak * (step + 1) / (warmup + 1)", "peak * step / warmup"), of="as in the text", fails=RISE)
warmup_cosine.slip("never below the floor, on the way up either", ("return peak * (step + 1) / (warmup + 1)",
    "return max(floor, peak * (step + 1) / (warmup + 1))"), of="as in the text", fails=RISE)  # fmt: skip
warmup_cosine.slip("the wave begins at step 0", ("(step - warmup) / (total - warmup)", "step / total"), of="as in the text", fails=(RISE, HALF, WAVE))
warmup_cosine.slip("rises again after the end", ("min(1.0, (step - warmup) / (total - warmup))", "(step - warmup) / (total - warmup)"),
    of="as in the text",
    fails=END)  # fmt: skip
warmup_cosine.slip("the floor added to the whole", ("(peak - floor)", "peak"), of="as in the text", fails=(RISE, HALF, WAVE))
warmup_cosine.slip("a wave down to minus the peak", ("(1 + math.cos(math.pi * progress)) / 2", "math.cos(math.pi * progress)"), of="as in the text",
    fails=(HALF, WAVE, END, COLD))  # fmt: skip
warmup_cosine.slip("a quarter of a wave", ("(1 + math.cos(math.pi * progress)) / 2", "math.cos(math.pi * progress / 2)"), of="as in the text",
    fails=(HALF, WAVE, COLD))  # fmt: skip
warmup_cosine.slip("a straight line down", ("(1 + math.cos(math.pi * progress)) / 2", "(1 - progress)"), of="as in the text", fails=WAVE)


@exercise("optimizers.lr_range_test", points=4, reference=(*OPTIM, "course_lib.scratch.range_test"))
def lr_range_test(student, rng):
    """Which rate is too large? Ask all of them."""
    start = rng.normal(size=2) + np.array([-4.0, 3.0])
    rates = np.geomspace(1e-3, 0.05, 25)
    with case(
        "one step with each rate, each from where the last one led", hint="x goes on; only the rate changes. Do not start afresh for every rate."
    ):
        wanted = range_test.lr_range_test(landscapes.ravine, start, rates)
        close(np.asarray(student.lr_range_test(landscapes.ravine, start, rates)), wanted)
    with case("each loss is the one just before its step", hint="The first loss is that of the start."):
        found = np.asarray(student.lr_range_test(landscapes.ravine, start, rates[:2]))
        first, slope = landscapes.ravine(start)
        close(found, np.array([first, landscapes.ravine(start - rates[0] * slope)[0]]))
    with case(
        "ends as soon as the loss is above `stop` times the smallest so far", hint="Compare with the smallest loss so far, not with the first one."
    ):
        long = np.geomspace(1e-3, 100, 60)
        wanted = range_test.lr_range_test(landscapes.ravine, start, long, stop=2.5)
        close(np.asarray(student.lr_range_test(landscapes.ravine, start, long, stop=2.5)), wanted)
        above, rates_beyond = np.array([0.0, rng.uniform(1.6, 2.0)]), [0.06] + [0.09] * 8  # one step halves y, then each makes it 1.25 times as long
        for settings, kept in (({}, 5), ({"stop": 2.5}, 4)):  # 1.25**6 < 4 < 1.25**8, and 1.25**4 < 2.5 < 1.25**6
            wanted = 12.5 * above[1] ** 2 * np.append(1.0, 0.25 * 1.25 ** (2 * np.arange(kept - 1)))
            close(np.asarray(student.lr_range_test(landscapes.ravine, above, rates_beyond, **settings)), wanted)
    with case("infinity and NaN end it too", hint="nan > 4 is False, so ask math.isfinite(loss) first; and keep no such loss."):
        wild = np.geomspace(1e-3, 1e6, 60)
        found = np.asarray(student.lr_range_test(landscapes.rosenbrock, start, wild, stop=math.inf), dtype=float)
        finite(found, "the list of losses")
        with np.errstate(all="ignore"):
            close(found, range_test.lr_range_test(landscapes.rosenbrock, start, wild, stop=math.inf), rtol=1e-4)
        nowhere = student.lr_range_test(landscapes.saddle, np.array([1e200, 1e200]), [0.1, 0.1])  # infinity less infinity, at once
        holds(len(nowhere) == 0, "At a start where the loss is not a number no step is taken, and no loss is kept.")
    with case("asks the hill once a step", hint="`loss, slope = hill(x)`, once: each call of a hill that draws batches has another batch."):
        asked_in_turn(student.lr_range_test(landscapes.restless, start, [0.01] * 8), 8)
    with case("leaves the start as it was", hint="Work on a copy, or write x = x - ... and not x -= ...", side=True):
        student.lr_range_test(landscapes.ravine, start, rates)
        inputs_unchanged(student)


EACH, BEFORE, ENDS, NOT_FINITE, START_KEPT = (
    "one step with each rate, each from where the last one led",
    "each loss is the one just before its step",
    "ends as soon as the loss is above `stop` times the smallest so far",
    "infinity and NaN end it too",
    "leaves the start as it was",
)


@lr_range_test.right("as in the text")
def _(hill, start, rates, stop=4.0):
    x, losses = start, []
    for rate in rates:
        loss, grad = hill(x)
        if not np.isfinite(loss) or (losses and loss > stop * min(losses)):
            break
        losses.append(loss)
        x = x - rate * grad
    return np.array(losses)


@lr_range_test.right("with the smallest loss carried along")
def _(hill, start, rates, stop=4.0):
    x, smallest, kept = np.array(start, dtype=float), math.inf, []
    for rate in list(rates):
        loss, grad = hill(x)
        if math.isnan(loss) or math.isinf(loss) or loss > stop * smallest:
            return kept
        smallest = min(smallest, float(loss))
        kept.append(float(loss))
        x -= rate * grad
    return kept


lr_range_test.slip("every rate from the start", ("        x = x - rate * grad\n", ""), of="as in the text", fails=(EACH, BEFORE, ENDS, NOT_FINITE))
lr_range_test.slip("compared with the first loss", ("stop * min(losses)", "stop * losses[0]"), of="as in the text", fails=ENDS)
lr_range_test.slip("compared with the loss before", ("stop * min(losses)", "stop * losses[-1]"), of="as in the text", fails=ENDS)
lr_range_test.slip("the smallest and `stop`, added", ("stop * min(losses)", "stop + min(losses)"), of="as in the text", fails=ENDS)
lr_range_test.slip("always 4", ("stop * min(losses)", "4.0 * min(losses)"), of="as in the text", fails=(ENDS, NOT_FINITE))
lr_range_test.slip("only infinity ends it", ("not np.isfinite(loss)", "np.isinf(loss)"), of="as in the text", fails=NOT_FINITE)
lr_range_test.slip("one call for the loss, one for the slope", ("loss, grad = hill(x)", "loss, grad = hill(x)[0], hill(x)[1]"), of="as in the text",
    fails=ONCE)  # fmt: skip
lr_range_test.slip("never ends", ("            break\n", "            pass\n"), of="as in the text", fails=(ENDS, NOT_FINITE))
lr_range_test.slip("no question whether the loss is a number", ("not np.isfinite(loss) or ", ""), of="as in the text", fails=NOT_FINITE)
lr_range_test.slip("the losses after the steps", ("        losses.append(loss)\n        x = x - rate * grad\n",
    "        x = x - rate * grad\n        losses.append(hill(x)[0])\n"), of="as in the text",
    fails=(EACH, BEFORE, ENDS, NOT_FINITE, ONCE))  # fmt: skip
lr_range_test.slip("keeps the loss that ended it",
    ("            break\n", "            losses.append(loss)\n            break\n"), of="as in the text",
    fails=(ENDS, NOT_FINITE))  # fmt: skip
lr_range_test.slip("the start itself moved", ("x = x - rate * grad", "x -= rate * grad"), of="as in the text", fails="leaves the start as it was")
