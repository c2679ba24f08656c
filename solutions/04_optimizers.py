# Chapter 04, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 04 · Getting downhill
#
# Chapter 03 found, for every one of a network's numbers, which way is down. **How far should each of them go?** Too far, and the loss
# explodes; not far enough, and you wait for ever; and what is right for one number is wrong for its neighbour. The rules that decide are
# called **optimisers**.
#
# At the end of this chapter you can
#
# - say how fast gradient descent can be at best on a given hill, and measure that it is so;
# - write momentum, RMSProp, Adam and AdamW from their formulas, equal to a library's to the seventh digit;
# - read a formula closely enough to see that it cannot work, and mend it;
# - find a good learning rate with one short run, shape it with warm-up and a cosine, and keep wild gradients in check;
# - compare optimisers fairly, which means: the same effort of tuning for each, and several seeds.
#
# **The exercises take about an hour and a half, the reading one more hour**; good places to stop are after sections 4 and 6. **You need**
# chapter 03 (gradients, batches, the network that reads digits). No library does any work for us before section 10, but for one witness.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

from autograder import check, predict, progress_board
from course_lib.data import digits
from course_lib.interactive.show import show, show_static
from course_lib.interactive.trajectories import trajectories
from course_lib.scratch.landscapes import ravine
from course_lib.scratch.mlp import MLP, MLPConfig

progress_board("optimizers")

# %% [markdown] lang="en"
# ## 1 · A network is a point on a hill
#
# Lay all numbers of a network end to end, and they are one point $\theta$ in a space of many dimensions. The loss is the **height** of the
# ground there, its gradient the **slope**. From now on a *hill* is a function that takes a point and gives both: `hill(theta)` →
# `(height, slope)`.
#
# Our network is that of chapter 03 with 64 hidden units instead of 32: 64 pixels → 64 → 10 scores. `pack` lays its arrays end to end,
# `unpack` cuts them apart again.

# %%
split = digits(seed=0)
x_train, y_train, x_test, y_test = split.x_train, split.y_train, split.x_test, split.y_test
network = MLP(MLPConfig((64, 64, 10)), seed=0)


def pack(arrays):
    """A dict of arrays → one vector."""
    return np.concatenate([arrays[name].ravel() for name in network.params])


def unpack(theta):
    """One vector → a dict of arrays, named and shaped like the network's."""
    arrays, begin = {}, 0
    for name, param in network.params.items():
        arrays[name] = theta[begin : begin + param.size].reshape(param.shape)
        begin += param.size
    return arrays


def digit_hill(theta, rows):
    """The loss on the given rows of the training set, and its gradient, as one vector."""
    loss, grads = network.with_params(unpack(theta)).loss_and_gradients(
        x_train[rows], y_train[rows]
    )
    return loss, pack(grads)


theta = pack(network.params)
every_row = np.arange(len(x_train))
height, slope = digit_hill(theta, every_row)
print(
    f"a point in {theta.size:,} dimensions, height {height:.3f},",
    f"slope of length {np.linalg.norm(slope):.3f}",
)

# %% [markdown] lang="en"
# Nobody sees 4,810 dimensions, so we practise where one can see: on a **ravine**, a hill of two coordinates with height
# $\tfrac12(x^2 + 25\,y^2)$. Along $x$ it is gentle, across it is 25 times as steep, and its lowest point is 0. Keep it in mind: nearly
# everything in this chapter was invented because of it.
#
# **Gradient descent** is the plainest of all rules. With $\theta_t$ the point after $t$ steps, $\nabla J$ the slope of the height $J$ and
# $\alpha$ the **learning rate** (`lr` in code),
#
# $$ \theta_{t+1} = \theta_t - \alpha\,\nabla J(\theta_t) . $$


# %% exercise="descend" minutes=6 level=1
def descend(hill, start, lr, steps):
    """Plain gradient descent, with every point that it visits.

    hill: takes a point (D,), gives (height, slope (D,)); asked once a step, for it may draw a new
    batch each time; start (D,), whole numbers allowed
    → path (steps + 1, D), float64: the start in row 0, then the point after each step.
    The start is left as it was.

    >>> descend(ravine, np.array([1.0, 1.0]), lr=0.02, steps=2)
    array([[1.    , 1.    ],
           [0.98  , 0.5   ],
           [0.9604, 0.25  ]])
    """
    ### BEGIN SOLUTION
    path = [np.array(start, dtype=np.float64)]  # a copy of our own, of floats
    for _step in range(steps):
        _height, slope = hill(path[-1])
        path.append(path[-1] - lr * slope)  # a new array: the old point stays in the list
    return np.array(path)
    ### END SOLUTION


# %% check="descend"
check("optimizers.descend", descend)

# %% [markdown] lang="en"
# <details><summary>All rows of my path are the same</summary>
#
# The list holds one array many times over: <code>x -= ...</code> changes that array, and all its appearances with it. Write <code>x = x -
# ...</code>, or append a copy.
# </details>
#
# Look again at the example in the docstring. After two steps $y$ has shrunk to a quarter, $x$ by hardly 4%. Raise the rate, and see what
# happens to each:

# %%
for lr in (0.02, 0.07, 0.079, 0.081):
    x, y = descend(ravine, np.array([1.0, 1.0]), lr, 100)[-1]
    print(f"lr {lr}: after 100 steps x = {x:.2e}, y = {y:.2e}")

# %% [markdown] lang="en"
# ## 2 · How fast can it be?
#
# On a bowl with **curvature** $\lambda$ in some direction, height $\tfrac12\lambda x^2$, the slope is $\lambda x$, and one step makes $x$
# into
#
# $$ x - \alpha\lambda x = (1 - \alpha\lambda)\,x . $$
#
# So every step multiplies the distance by the same factor $1 - \alpha\lambda$. Between 0 and 1 it creeps; below 0 it jumps across the
# valley; below $-1$ each jump is longer than the last, and it flies off. That is all there is to a "too large" rate: $\alpha > 2/\lambda$.
#
# A ravine has several curvatures and only **one** rate for all of them. The steepest direction, $\lambda_{\max}$, sets the limit; the
# flattest, $\lambda_{\min}$, then creeps. The best rate makes the two equally slow:
# $1 - \alpha\lambda_{\min} = -(1 - \alpha\lambda_{\max})$. Solve for $\alpha$ and put it back in. With the **condition number**
# $\kappa = \lambda_{\max}/\lambda_{\min}$, what is left of the distance after one step is the factor $(\kappa - 1)/(\kappa + 1)$.


# %% exercise="quadratic_rates" minutes=8 level=2
def quadratic_rates(curvatures):
    """What gradient descent can do on a bowl ½ Σ λᵢ xᵢ².

    curvatures: array of the λᵢ, all above 0, in any order
    → (limit, best, left), three numbers:
      limit: the rate from which on it no longer comes down
      best: the rate that comes down fastest, judged by the slowest direction
      left: the factor that one step at the best rate leaves of the distance in that direction
    The array is left as it was.

    >>> limit, best, left = quadratic_rates(np.array([1.0, 3.0]))
    >>> round(float(limit), 4), float(best), float(left)
    (0.6667, 0.5, 0.5)
    """
    ### BEGIN SOLUTION
    low, high = np.min(curvatures), np.max(curvatures)
    best = 2 / (low + high)  # where 1 - best·low = best·high - 1
    return 2 / high, best, (high - low) / (high + low)
    ### END SOLUTION


# %% check="quadratic_rates"
check("optimizers.quadratic_rates", quadratic_rates)

# %% [markdown] lang="en"
# Is it true? Walk on bowls of different $\kappa$ at the best rate, and measure the factor between step 100 and step 200.


# %%
def bowl(kappa):
    """The hill of height ½ (x² + κ y²)."""
    curvatures = np.array([1.0, kappa])
    return lambda x: (0.5 * np.sum(curvatures * x**2), curvatures * x)


print("    κ   measured factor   (κ - 1)/(κ + 1)")
for kappa in (2.0, 10.0, 100.0, 1000.0):
    best = quadratic_rates(np.array([1.0, kappa]))[1]
    distance = np.linalg.norm(descend(bowl(kappa), np.ones(2), best, 200), axis=1)
    measured = (distance[200] / distance[100]) ** (1 / 100)
    print(f"{kappa:5.0f}   {measured:15.6f}   {(kappa - 1) / (kappa + 1):15.6f}")

# %% [markdown] lang="en"
# **Predict.** On a bowl with $\kappa = 1000$, at the best rate there is, about how many steps does gradient descent need until a
# **thousandth** of the distance is left? (After one step the factor 999/1001 is left, which takes about 0.2% away. And
# $\log 1000 \approx 6.9$.)

# %% predict="ravine_steps"
# A number of steps.
steps_guess = ...

# %%
steps_needed = int(np.ceil(np.log(1 / 1000) / np.log(999 / 1001)))
predict.reveal(
    "optimizers.ravine_steps",
    guess=steps_guess,
    truth=steps_needed,
    because="6.9 divided by 0.002: the number of steps grows like κ itself. "
    "Ten times the condition number, ten times the wait.",
)

# %% [markdown] lang="en"
# How bad are real networks? Ours can be asked. The curvature along a direction $u$ is how fast the slope along $u$ changes when you go
# along $u$. Going along the slope's own change again and again (the *power method*) finds the steepest direction. We ask a twin of our
# network with $\tanh$ for ReLU: a ReLU has a corner, and a measurement across a corner tells of the corner.

# %%
smooth_twin = MLP(MLPConfig((64, 64, 10), activation="tanh"), seed=0)
point, nudge = pack(smooth_twin.params), 1e-4


def change_of_slope(u):
    """How the twin's slope changes along u, per unit of way, at its starting point."""
    slopes = [
        pack(
            smooth_twin.with_params(unpack(point + side * u)).loss_and_gradients(x_train, y_train)[
                1
            ]
        )
        for side in (nudge, -nudge)
    ]
    return (slopes[0] - slopes[1]) / (2 * nudge)


rng = np.random.default_rng(0)
direction = rng.normal(size=point.size)
for _turn in range(25):
    direction = change_of_slope(direction / np.linalg.norm(direction))
steepest = np.linalg.norm(direction)
anywhere = []
for _direction in range(50):
    u = rng.normal(size=point.size)
    u /= np.linalg.norm(u)
    anywhere.append(u @ change_of_slope(u))
print(f"steepest curvature {steepest:.2f}, mean of 50 random directions {np.mean(anywhere):.4f}")
print(f"if the hill stayed like this, the limit would be lr = {2 / steepest:.2f}")

# %% [markdown] lang="en"
# The untrained network already lies in a ravine: its steepest direction is more than a thousand times as curved as an average one. The hill
# does not stay like this, though: a network is not a bowl, and its curvatures change along the way. So the theory says what *kind* of thing
# happens, and the rate itself must be found by trying (section 8). (In section 9 gradient descent is best at a rate above this limit.)

# %% [markdown] lang="en"
# ## 3 · Mini-batches: a slope that shivers
#
# The slope over all training rows costs a pass over all of them. **Stochastic gradient descent** asks only a few, chosen at random anew in
# every step:
#
# $$ \theta_{t+1} = \theta_t - \alpha\,\frac1B \sum_{i \in \text{batch}_t} \nabla J(\theta_t;\, x_i, y_i) . $$
#
# (The source article writes $\nabla J(\theta_t, x_i)$: one row, its label left out. One row is the case $B = 1$. And $J$ there is the loss
# of that row, no longer that of the whole set. Its list of steps is 2 choose data at random, 3 compute the gradient, 4 update the parameters,
# 5 "repeat steps 2 and 3": a new row each time, as it should be, but step 4 is left out of the loop. The questions at the end come back to
# it.) On average over all choices it is the true slope,
# since every row has the same chance; a single one is the true slope plus noise.
#
# **Predict.** How long is the noise, the difference between a batch's slope and the true one? With batches of **256** rows instead of
# **16**, how many times shorter is it? (Means of independent things: think of the standard error of a mean.)

# %% predict="batch_noise"
# A number.
noise_guess = ...

# %%
rng = np.random.default_rng(0)
noise = {
    size: np.sqrt(
        np.mean(
            [
                np.sum((digit_hill(theta, rng.integers(len(x_train), size=size))[1] - slope) ** 2)
                for _draw in range(200)
            ]
        )
    )
    for size in (1, 16, 256)
}
print(
    f"the true slope is {np.linalg.norm(slope):.3f} long; the noise on it:",
    {size: f"{length:.3f}" for size, length in noise.items()},
)
predict.reveal(
    "optimizers.batch_noise",
    guess=noise_guess,
    truth=noise[16] / noise[256],
    because="It shrinks like the square root of the batch size: 16 times the work for a quarter of "
    "the noise. (4, but for the luck of 200 draws.)",
)

# %% [markdown] lang="en"
# That is why small batches pay: 16 rows cost a sixteenth of the arithmetic of 256, and their slope is only four times as noisy. (The clock
# gives less than arithmetic promises, because every step has a part that does not depend on the rows:)

# %%
clocks = {16: [], 256: []}
for _turn in range(60):
    for size, times in clocks.items():
        begin = time.perf_counter()
        digit_hill(theta, every_row[:size])
        times.append(time.perf_counter() - begin)
print("time for one slope:", {n: f"{np.median(t) * 1e6:.0f} µs" for n, t in clocks.items()})

# %% [markdown] lang="en"
# The noise is also why a constant
# rate never quite arrives: near the lowest point the true slope vanishes, the noise does not, and the point goes on dancing in a cloud
# whose size is set by the rate. Section 8 lets the rate shrink for this reason.

# %% [markdown] lang="en"
# ## 4 · Momentum
#
# Across a ravine, at a rate worth having (above 1/λ), the slope changes sign from step to step; along it, it always points the same way. So
# **add the slopes up**: the ones that alternate cancel, the steady ones accumulate. With a velocity $v$ that starts at 0 and a memory
# $\beta$ (usually 0.9),
#
# $$ v_{t+1} = \beta\,v_t + \nabla J(\theta_t), \qquad \theta_{t+1} = \theta_t - \alpha\,v_{t+1} . $$
#
# Under a steady slope $g$ the velocity grows to $g + \beta g + \beta^2 g + \dots = g/(1 - \beta)$: ten times the slope, if $\beta = 0.9$.
#
# **Nesterov's** version lets the slope be followed by one more push of the velocity that it has just changed, as if looking at where the
# momentum is about to carry you:
#
# $$ \theta_{t+1} = \theta_t - \alpha\,(\nabla J(\theta_t) + \beta\,v_{t+1}) . $$
#
# All rules from here on have one form: they take the point, the slope there and a **state** (a dict of what they remember, empty at first),
# and give the new point and the new state. Then any rule can drive any walk.


# %% exercise="momentum" minutes=10 level=2
def momentum(x, grad, state, lr=0.1, beta=0.9, nesterov=False):
    """One step with momentum.

    x: array of any shape; grad: the slope there, same shape
    state: {} at the first step, later what you returned the last time
    → (new x, new state). x and grad are left as they were; all memory is in the state.

    >>> x, state = momentum(np.array([1.0]), np.array([2.0]), {}, lr=0.1)
    >>> x
    array([0.8])
    >>> momentum(x, np.array([2.0]), state, lr=0.1)[0].round(6)
    array([0.42])
    """
    ### BEGIN SOLUTION
    velocity = beta * state.get("velocity", 0.0) + grad  # 0 when nothing is remembered yet
    step = grad + beta * velocity if nesterov else velocity
    return x - lr * step, {"velocity": velocity}
    ### END SOLUTION


# %% check="momentum"
check("optimizers.momentum", momentum)

# %% [markdown] lang="en"
# <details><summary>Where do I keep the velocity between two calls?</summary>
#
# In the dict that you return. <code>state.get("velocity", 0.0)</code> reads it and gives 0.0 in the first step, when the dict is empty.
# </details>
#
# The source article averages instead of adding, $v_{t+1} = \beta v_t + (1 - \beta)\nabla J$. Both are in use, and they walk **alike** if
# the averaging one is given $1/(1 - \beta)$ times the rate. At the *same* rate it takes steps that are ten times shorter, and somebody who
# swaps one library for another wonders why nothing moves.


# %%
def walk(rule, hill, start, steps, **settings):
    """Let a rule walk down a hill → path (steps + 1, D)."""
    x, state, path = np.array(start, dtype=np.float64), {}, [np.array(start, dtype=np.float64)]
    for _step in range(steps):
        x, state = rule(x, hill(x)[1], state, **settings)
        path.append(x)
    return np.array(path)


def averaging_momentum(x, grad, state, lr=0.1, beta=0.9):
    v = beta * state.get("v", 0.0) + (1 - beta) * grad
    return x - lr * v, {"v": v}


start = np.array([-4.0, 1.2])
added = walk(momentum, ravine, start, 50, lr=0.01)
averaged = walk(averaging_momentum, ravine, start, 50, lr=0.1)
same_rate = walk(averaging_momentum, ravine, start, 50, lr=0.01)
print(f"largest distance between the two walks: {np.abs(added - averaged).max():.1e}")
print(
    "at the same rate, 50 steps from x = -4:",
    f"adding to {added[-1, 0]:.2f}, averaging to {same_rate[-1, 0]:.2f}",
)
plainly = descend(ravine, start, 0.02, 300)[-1]
smoothly = walk(averaging_momentum, ravine, start, 300, lr=0.02)[-1]
print(
    "distance from the lowest point after 300 steps at lr = 0.02:",
    f"gradient descent {np.linalg.norm(plainly):.4f}, averaging {np.linalg.norm(smoothly):.4f}",
)

# %% [markdown] lang="en"
# Against gradient descent at the same rate, averaging gains little: under a steady slope it ends up at the same pace, and no more. In this
# ravine it gets a few times nearer, and it bears larger rates: its limit is $\frac{2(1 + \beta)}{(1 - \beta)\lambda}$, 19 times as high for
# $\beta = 0.9$.
#
# What does momentum buy in a ravine? With the best $\alpha$ and $\beta$ for given curvatures (Polyak, 1964), the factor that is left after
# a step falls from $\frac{\kappa - 1}{\kappa + 1}$ to $\frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}$. The wait grows like $\sqrt\kappa$ instead
# of $\kappa$. (For $\lambda_{\min} = 1$ they are $\alpha = 4/(1 + \sqrt\kappa)^2$ and
# $\beta = \bigl(\tfrac{\sqrt\kappa - 1}{\sqrt\kappa + 1}\bigr)^2$.) Measured:


# %%
def steps_to(fraction, path):
    """After how many steps at most this fraction of the first distance is left, for good."""
    distance = np.linalg.norm(path, axis=1)
    return int(np.flatnonzero(distance > fraction * distance[0])[-1]) + 1


kappas, waits = (10.0, 100.0, 1000.0), {"gradient descent": [], "momentum": []}
for kappa in kappas:
    plain = descend(bowl(kappa), np.ones(2), 2 / (1 + kappa), 4000)
    waits["gradient descent"].append(steps_to(1e-3, plain))
    root = np.sqrt(kappa)
    best = {"lr": 4 / (1 + root) ** 2, "beta": ((root - 1) / (root + 1)) ** 2}
    pushed = walk(momentum, bowl(kappa), np.ones(2), 4000, **best)
    waits["momentum"].append(steps_to(1e-3, pushed))
for name, steps in waits.items():
    print(f"{name:17s}", {f"κ = {kappa:g}": n for kappa, n in zip(kappas, steps, strict=True)})

# %% [markdown] lang="en"
# Ten times the $\kappa$ costs gradient descent ten times the steps, momentum between three and four times ($\sqrt{10} \approx 3.2$, and a
# little more, because exactly at the best setting the distance first swells before it shrinks). On bowls whose curvatures are known, mind:
# on other hills it is a good habit, not a theorem.

# %% [markdown] lang="en"
# ## 5 · Steps of one length: the first "adaptive" momentum
#
# The source article goes on with a variant that it calls *adaptive* momentum. It is said to "adjust the learning rate of the momentum by
# how the parameters change". Its formula says something else:
#
# $$ v_{t+1} = \beta\,v_t + (1 - \beta)\,\nabla J(\theta_t), \qquad \theta_{t+1} = \theta_t - \alpha\,\frac{v_{t+1}}{\lVert v_{t+1} \rVert} . $$
#
# Nothing in it adapts, and nothing depends on how $\theta$ changed. It is **normalised momentum**: the direction of $v$ is kept, its length
# thrown away. On a plateau, where slopes are tiny, that helps. **Predict** what it means near the lowest point: after 1,000 steps on the
# ravine with $\alpha = 0.1$, how long is the step number 1,000?

# %% predict="normalised_step"
# A length. (What is the length of v/‖v‖?)
length_guess = ...


# %%
def normalised_momentum(x, grad, state, lr=0.1, beta=0.9):
    v = beta * state.get("v", 0.0) + (1 - beta) * grad
    return x - lr * v / np.linalg.norm(v), {"v": v}


path = walk(normalised_momentum, ravine, start, 1000, lr=0.1)
distance = np.linalg.norm(path[-100:], axis=1)
print(f"nearest to the lowest point in the last 100 steps: {distance.min():.3f}")
print(f"farthest from it: {distance.max():.3f}")
predict.reveal(
    "optimizers.normalised_step",
    guess=length_guess,
    truth=float(np.linalg.norm(path[-1] - path[-2])),
    because="Every step is α long, the thousandth like the first. "
    "It hops about the lowest point and never lands.",
)

# %% [markdown] lang="en"
# It has a second gap: where $v$ is exactly 0, as after a start on level ground, $0/0$ is not a number. A single such step, and the walk is
# `nan` for ever. The mend is one line (stay where you are if the length is 0); that it never lands is mended by letting $\alpha$ shrink:

# %%
x, state = start, {}
with np.errstate(all="ignore"):
    print(
        "one step from the level point (0, 0):",
        normalised_momentum(np.zeros(2), np.zeros(2), {})[0],
    )
for step in range(1000):
    x, state = normalised_momentum(x, ravine(x)[1], state, lr=0.1 * (1 - step / 1000))
print(
    f"with a rate that falls to 0 in a straight line, it ends {np.linalg.norm(x):.1e}",
    "from the lowest point",
)

# %% [markdown] lang="en"
# So it is no bad rule. Its steps cannot explode, whatever the slope, and a relative that normalises every layer by itself (LARS) is used
# with very large batches. But it is one rate for all coordinates, as before, and the ravine still has two curvatures.

# %% [markdown] lang="en"
# ## 6 · A rate for every coordinate
#
# Now something that does adapt. **AdaGrad** (2011) keeps, for each coordinate by itself, the sum of all its squared slopes, and divides by
# the root:
#
# $$ s_{t+1} = s_t + g^2, \qquad \theta_{t+1} = \theta_t - \alpha\,\frac{g}{\sqrt{s_{t+1}} + \epsilon}, \qquad g = \nabla J(\theta_t) , $$
#
# squares, root and quotient taken **elementwise**. A coordinate with steep slopes gets a small rate, one with flat slopes a large one;
# $\epsilon$ only keeps the denominator above 0. Here it is in our form:


# %%
def adagrad(x, grad, state, lr=0.01, eps=1e-10):
    squares = state.get("squares", 0.0) + grad**2
    return x - lr * grad / (np.sqrt(squares) + eps), {"squares": squares}


def ramp(x):
    """A hill with the slope 1 everywhere."""
    return np.sum(x), np.ones_like(x)


lengths = -np.diff(walk(adagrad, ramp, np.zeros(1), 400, lr=0.5)[:, 0])
for step in (1, 10, 100, 400):
    print(f"step {step:3d} is {lengths[step - 1]:.4f} long; lr/√t is {0.5 / np.sqrt(step):.4f}")

# %% [markdown] lang="en"
# The sum only grows, so under a steady slope, where nothing calls for shorter steps, they shrink like $1/\sqrt t$. On sparse data (a word
# that occurs once a day) that is what one wants. In a deep network, which passes through steep regions early, AdaGrad remembers them for
# ever. **RMSProp** (2012) forgets: a moving **mean** of the squares takes the place of the sum,
#
# $$ s_{t+1} = \alpha_s\,s_t + (1 - \alpha_s)\,g^2, \qquad \theta_{t+1} = \theta_t - \text{lr}\,\frac{g}{\sqrt{s_{t+1}} + \epsilon} , $$
#
# with $s_0 = 0$. The memory $\alpha_s$ is called `alpha` in code, as in PyTorch; it is no learning rate.


# %% exercise="rmsprop" minutes=6 level=1
def rmsprop(x, grad, state, lr=0.01, alpha=0.99, eps=1e-8):
    """One step of RMSProp; arguments and results as in `momentum`.

    >>> x, state = rmsprop(np.array([1.0, 1.0]), np.array([0.5, -500.0]), {}, lr=0.01)
    >>> x.round(4)  # the first step is lr / sqrt(1 - alpha) long in every coordinate
    array([0.9, 1.1])
    """
    ### BEGIN SOLUTION
    squares = alpha * state.get("squares", 0.0) + (1 - alpha) * grad**2
    return x - lr * grad / (np.sqrt(squares) + eps), {"squares": squares}
    ### END SOLUTION


# %% check="rmsprop"
check("optimizers.rmsprop", rmsprop)

# %% [markdown] lang="en"
# The example shows a flaw. The first step is ten times as long as `lr` says, because $s$ starts at 0 and after one step holds only a
# hundredth of $g^2$. Adam will mend that.
#
# ### A formula that eats itself
#
# The source article ends with *self-adapting* momentum, and means Adam, the optimiser that most large models are trained with. These are
# its formulas:
#
# $$ v_{t+1} = \beta_1 v_t + (1 - \beta_1)\,\nabla J(\theta_t), \qquad \theta_{t+1} = \theta_t - \alpha_t\,v_{t+1}, $$
#
# $$ \beta_2^{t} = \beta_2\,\beta_2^{t-1} + (1 - \beta_2)\,\lVert \nabla J(\theta_t) \rVert^2, \qquad \alpha_{t+1} = \frac{\alpha}{\sqrt{\beta_2^{t} + \epsilon}} . $$
#
# Read the third one twice. $\beta_2$ is a constant that says how long to remember. But $\beta_2^t$ is also the thing remembered: it is on
# the left, and one step older on the right. As a power of $\beta_2$ the line is no assignment at all. Take it at its word, as a program
# must: **$\beta_2$ is a state that is its own coefficient**, $\;b \leftarrow b \cdot b + (1 - b)\,G$ with $G = \lVert\nabla J\rVert^2$,
# starting from 0.999. What does that do under a steady slope?
#
# (In words the article says that this variant adapts the momentum's rate *and its decay factor* "by how the parameters change". That would be
# two factors that follow from the changes of $\theta$. In Adam, as you will see, nothing does: $\beta_1$ and $\beta_2$ are constants, and the
# steps follow from the slopes.)

# %%
squared_slopes = np.linspace(0.02, 4.6, 700)
b = np.full_like(squared_slopes, 0.999)
late, below_zero = [], np.zeros(len(b), dtype=bool)
with np.errstate(all="ignore"):
    for step in range(1200):
        b = b * b + (1 - b) * squared_slopes
        below_zero |= b < 0
        if step >= 1100:
            late.append(b)
late = np.array(late)
escaped = ~np.isfinite(late).all(axis=0)
print(
    f"from G = {squared_slopes[escaped].min():.2f} on, b runs away to infinity;",
    f"of these {escaped.sum()} values of G, {below_zero[escaped].sum()} took it below 0 on the way,",
    f"of the {(~escaped).sum()} others {below_zero[~escaped].sum()}",
)

figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
axis.plot(squared_slopes, late.T, ",", color="0.15")
axis.plot(
    squared_slopes,
    squared_slopes,
    "--",
    color="#b34700",
    linewidth=2,
    label="what a memory should hold: G",
)
axis.axvspan(squared_slopes[escaped].min(), 4.6, color="0.85", hatch="//", label="runs away")
axis.set(
    xlabel="squared length G of a steady slope",
    ylabel="b after 1,100 to 1,200 steps",
    ylim=(-0.5, 4.7),
)
axis.legend(frameon=True, loc="upper left")
plt.close(figure)
show_static(
    figure,
    alt="Late values of b against G. Up to G = 1 they lie on the line b = G, from 1 to 3 they stay at 1; "
    "beyond 3 they split into two, four and more values, then chaos, and from 4 on they run away.",
)

# %% [markdown] lang="en"
# The recursion rests where $b = b^2 + (1 - b)G$, that is $(b - 1)(b - G) = 0$: at $b = G$, which is what was wanted, or at $b = 1$, which
# has nothing to do with the slope. A resting point attracts if the map's slope there, $2b - G$, lies between $-1$ and 1. At $b = G$ that is
# $G$, so it attracts for $G < 1$ only. At $b = 1$ it is $2 - G$, so it attracts for $1 < G < 3$. Beyond 3 neither does, and you see the
# well-known road to chaos. Beyond 4 it sooner or later falls below 0, where it has no root, and then runs away.
#
# Is $G > 4$ rare? On the ravine at our start, $G$ is 916. The whole program, in our own words:


# %%
def self_adapting(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    v = beta1 * state.get("v", 0.0) + (1 - beta1) * grad
    x = x - state.get("rate", lr) * v  # the rate that the *last* slope left behind
    b = state.get("b", beta2)
    b = b * b + (1 - b) * np.sum(grad**2)
    return x, {"v": v, "b": b, "rate": lr / np.sqrt(b + eps)}


def kinder_reading(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    """beta2 stays a constant. What is remembered is another variable, s; it starts at 1, beta2 to the power 0."""
    v = beta1 * state.get("v", 0.0) + (1 - beta1) * grad
    x = x - state.get("rate", lr) * v
    s = beta2 * state.get("s", 1.0) + (1 - beta2) * np.sum(grad**2)
    return x, {"v": v, "s": s, "rate": lr / np.sqrt(s + eps)}


for name, rule in (("at its word", self_adapting), ("kinder reading", kinder_reading)):
    with np.errstate(all="ignore"):
        path = walk(rule, ravine, start, 300, lr=0.1)
    bad = np.flatnonzero(~np.isfinite(path).all(axis=1))
    print(
        f"{name:14s}: ends at {path[-1].round(3)}"
        + (f", not a number from step {bad[0]} on" if len(bad) else "")
    )

# %% [markdown] lang="en"
# The kinder reading walks. But it is not Adam either, and four differences matter:
#
# 1. **One rate for all.** $\lVert\nabla J\rVert^2$ is a single number, so a steep coordinate slows down its flat neighbours. Adam keeps a
#    mean of $g^2$ *for each coordinate*.
# 2. **The start.** What $s$ starts from weighs on the first thousand steps and more ($0.999^{1000} \approx 0.37$ of it is still there),
#    what $v$ starts from only on the first few dozen ($0.9^{30} \approx 0.04$). Adam starts both at 0 and divides out exactly the missing
#    share: after $t$ steps a mean with memory $\beta$ has collected a share of $1 - \beta^t$.
# 3. **$\epsilon$ inside the root.** With slopes of $10^{-7}$, squares are $10^{-14}$, and $\epsilon = 10^{-8}$ drowns them. Adam adds it
#    outside.
# 4. **The rate comes late.** $\alpha_t$ was made from the slope before, so the first steep slope is met by a rate that knows nothing of it.
#
# **Adam** (Kingma and Ba, 2015), with $m_0 = s_0 = 0$, steps counted $t = 1, 2, \dots$, and all elementwise:
#
# $$ m_t = \beta_1 m_{t-1} + (1 - \beta_1)\,g_t, \qquad s_t = \beta_2 s_{t-1} + (1 - \beta_2)\,g_t^2, $$
#
# $$ \hat m_t = \frac{m_t}{1 - \beta_1^{\,t}}, \qquad \hat s_t = \frac{s_t}{1 - \beta_2^{\,t}}, \qquad
#    \theta_t = \theta_{t-1} - \alpha\,\frac{\hat m_t}{\sqrt{\hat s_t} + \epsilon} . $$
#
# Here $\beta_1^{\,t}$ *is* a power. Now mend the program.


# %% exercise="mend_adaptive_momentum" minutes=15 level=3
def mend_adaptive_momentum(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    """One step of Adam; arguments and results as in `momentum`.

    >>> x, state = mend_adaptive_momentum(np.zeros(3), np.array([0.5, -500.0, 2.0]), {}, lr=0.01)
    >>> x.round(4)  # the first step is lr long in every coordinate
    array([-0.01,  0.01, -0.01])
    """
    ### BEGIN SOLUTION
    t = state.get("t", 0) + 1
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * grad
    s = beta2 * state.get("s", 0.0) + (1 - beta2) * grad**2  # a mean for each coordinate
    m_hat, s_hat = m / (1 - beta1**t), s / (1 - beta2**t)  # not kept: the means go on as they are
    return x - lr * m_hat / (np.sqrt(s_hat) + eps), {"t": t, "m": m, "s": s}
    ### ELSE BROKEN
    # v = beta1 * state.get("v", 0.0) + (1 - beta1) * grad
    # x = x - state.get("rate", lr) * v
    # b = state.get("b", beta2)
    # b = b * b + (1 - b) * np.sum(grad**2)
    # return x, {"v": v, "b": b, "rate": lr / np.sqrt(b + eps)}
    ### END SOLUTION


# %% check="mend_adaptive_momentum"
check("optimizers.mend_adaptive_momentum", mend_adaptive_momentum)

# %% [markdown] lang="en"
# <details><summary>The first step is right and the later ones are not</summary>
#
# The state must keep m and s as they are. If it keeps the corrected ones, they are corrected again in the next step. And t must be in the
# state too, or every step is a first step.
# </details>
#
# **Predict.** Somebody multiplies the loss by 1,000 (a sum instead of a mean, say). Gradient descent would need a thousandth of its rate.
# How does the path of **Adam** change, with all settings as they were: "longer" steps, "shorter" steps, or practically "same"?

# %% predict="adam_scale"
# "longer", "shorter" or "same".
# (What happens to m̂ and to the root of ŝ if every slope is 1,000 times as large?)
scale_guess = ...

# %%
import torch  # the witness: a library's Adam, which does not depend on your code


def witness(factor):
    x = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.1)
    for _step in range(100):
        x.grad = torch.from_numpy(factor * ravine(x.detach().numpy())[1])
        optimizer.step()
    return x.detach().numpy()


once, thousandfold = witness(1.0), witness(1000.0)
print(f"after 100 steps: {once.round(5)} and {thousandfold.round(5)}")
predict.reveal(
    "optimizers.adam_scale",
    guess=scale_guess,
    truth="same" if np.abs(once - thousandfold).max() < 1e-3 else "not the same",
    because="m̂ and the root of ŝ both grow a thousandfold, and the factor cancels. "
    "Only eps notices, a little.",
)

# %% [markdown] lang="en"
# So Adam's `lr` has a plain meaning: **about how far a coordinate may move in one step**, in the parameter's own unit, whatever the loss
# is. (While slopes keep sign and size it is nearly `lr`; where they waver, $m$ is small against $\sqrt s$ and the step is shorter. It can
# also be longer: one large slope after many tiny ones moves a coordinate by about $\frac{1 - \beta_1}{\sqrt{1 - \beta_2}} \approx 3.16$
# times `lr`.) This is why one default, 0.001, works so often.

# %% [markdown] lang="en"
# ### See them walk
#
# Four hills: the ravine; **Rosenbrock's** bent valley; **Beale's** plain between cliffs; and a **saddle**, where the start is almost
# exactly on the ridge. Try this:
#
# - ravine, momentum, $\beta$ = 0.9: raise the rate from 0.07 to 0.09. The dashed line (gradient descent) has passed its limit of 2/25 =
#   0.08. Has momentum? (Its limit is $2(1 + \beta)/\lambda$ = 0.152. Nesterov's is $2(1 + \beta)/((1 + 2\beta)\lambda)$ = 0.054: looking ahead
#   with too long a step, it corrects too much.)
# - ravine, normalised momentum, rate 0.09, last moments: it hops to and fro.
# - saddle, rate 0.03: gradient descent nearly stops at (0, 0), although that is no lowest point. Which rules get away from it first?
# - Rosenbrock: which rates survive at all with gradient descent, and which with Adam?

# %% figure="trajectories" alt="A map of a hill with the path of a chosen optimiser and of plain gradient descent from the same start, and their heights against the step. Controls choose the moment, the hill, the optimiser, the learning rate and the memory beta."
show(trajectories())

# %% [markdown] lang="en"
# ## 7 · Weights that shrink: AdamW
#
# Large weights are often a sign of learning by heart, so one lets all weights shrink a little in each step. The old way adds
# $\tfrac{\lambda}{2}\lVert\theta\rVert^2$ to the loss, which adds $\lambda\theta$ to the slope. For gradient descent that is the same as
# shrinking. For Adam it is not: the added $\lambda\theta$ goes through $m$ and gets divided by $\sqrt s$, so the weights with the
# *steepest* slopes shrink *least*. And a weight with hardly any slope of its own is left with $\lambda\theta$ alone, which $\sqrt s$ makes
# into a full step: it loses up to `lr` in every step, *whatever $\lambda$ is*. **AdamW** (Loshchilov and Hutter, 2019) shrinks beside the
# walk:
#
# $$ \theta_t = \theta_{t-1} - \alpha\lambda\,\theta_{t-1} - \alpha\,\frac{\hat m_t}{\sqrt{\hat s_t} + \epsilon} , $$
#
# with $m$ and $s$ made of the plain slopes. ($\lambda$ is `weight_decay`. As in PyTorch, the share is $\alpha\lambda$, so it follows the
# schedule of the rate.) Section 8 measures the difference.


# %% exercise="adamw" minutes=8 level=2
def adamw(x, grad, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    """One step of AdamW; arguments and results as in `momentum`.

    You may call what you have written. Without a slope the weights only shrink:

    >>> adamw(np.array([2.0]), np.array([0.0]), {}, lr=0.1, weight_decay=0.5)[0]
    array([1.9])
    """
    ### BEGIN SOLUTION
    shrunk = (1 - lr * weight_decay) * x
    return mend_adaptive_momentum(shrunk, grad, state, lr, beta1, beta2, eps)
    ### END SOLUTION


# %% check="adamw"
check("optimizers.adamw", adamw)

# %% [markdown] lang="en"
# <details><summary>May I shrink first and step then?</summary>
#
# Yes: Adam's step is made of the slope that you were given, and does not look at x. What must not happen is that the decay reaches m or s,
# or that it is taken of the weight
# <i>after</i> the step.
# </details>

# %% [markdown] lang="en"
# ## 8 · A rate for every moment
#
# ### Which rate at all? Ask all of them
#
# The **range test** (Smith, 2017) finds the region in a single short run: take one step with each of many rates, from far too small to far
# too large, and look at where the loss stops falling and where it explodes.


# %% exercise="lr_range_test" minutes=15 level=3
def lr_range_test(hill, start, rates, stop=4.0):
    """One step of gradient descent with each rate in turn, each from where the last one led.

    hill: takes a point, gives (loss, slope), losses above 0; asked once a step, for it may draw
    a new batch each time; start: array; rates: one a step, as a rule from small to large
    → the losses met just before each step, one for every step that was taken
    The run ends where a loss is not finite, or above `stop` times the smallest one so far:
    before the step, and without keeping that loss.
    The start is left as it was.

    >>> lr_range_test(ravine, np.array([0.0, 1.0]), [0.04, 0.02, 0.3, 0.5, 0.7]).round(6)
    array([12.5,  0. ,  0. ,  0. ,  0. ])
    >>> lr_range_test(ravine, np.array([0.0, 1.0]), [0.02, 0.3, 0.5, 0.7])
    array([12.5  ,  3.125])
    """
    ### BEGIN SOLUTION
    x, losses = np.array(start, dtype=np.float64), []
    for rate in rates:
        loss, slope = hill(x)
        if not np.isfinite(loss) or (losses and loss > stop * min(losses)):
            break
        losses.append(float(loss))
        x = x - rate * slope
    return np.array(losses)
    ### END SOLUTION


# %% check="lr_range_test"
check("optimizers.lr_range_test", lr_range_test)

# %%
rates = np.geomspace(1e-3, 30, 150)


def range_run(seed):
    """One range test on batches drawn by a seed → losses, their means of five, rate of the lowest mean."""
    rng = np.random.default_rng(seed)
    losses = lr_range_test(
        lambda point: digit_hill(point, rng.integers(len(x_train), size=32)), theta, rates
    )
    smooth = np.convolve(losses, np.ones(5) / 5, mode="valid")
    return losses, smooth, float(rates[smooth.argmin() + 2])


losses, smooth, lowest = range_run(seed=0)
print(
    f"the run ended after {len(losses)} steps, at lr = {rates[len(losses) - 1]:.2f};",
    f"the smoothed loss was lowest at lr = {lowest:.2f}",
)
others = [range_run(seed)[2] for seed in range(8)]
print(f"with eight draws of the batches: lowest at lr = {min(others):.2f} to {max(others):.2f}")

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.semilogx(rates[: len(losses)], losses, ".", color="0.6", label="one batch")
axis.semilogx(
    rates[2 : len(smooth) + 2], smooth, "-", color="#0b6aa2", linewidth=2.5, label="mean of five"
)
axis.axvline(lowest, color="#b34700", linestyle="--", label="lowest")
axis.set(xlabel="learning rate of the step (logarithmic)", ylabel="loss before the step")
axis.legend(frameon=False)
plt.close(figure)
show_static(
    figure,
    alt="Loss against the rate in a range test: level for small rates, falling from about 0.01, "
    "lowest near 0.6, then exploding.",
)

# %% [markdown] lang="en"
# How to read it: left of the fall the rate is too small to matter, at the explosion it is too large. A rate somewhat left of the lowest
# point, between a tenth and a half of it, is a good first try: here from 0.06 to 0.31. It is a rule of thumb: the run is short, the hill
# later on is another one, and the lowest point itself is a matter of luck, as the other draws show: the largest is almost three times the
# smallest. Section 9 tries all rates properly and tells how good this was.
#
# ### Up a line, down a wave
#
# Two things are known about the right moment. At the **start**, slopes are wild and Adam's means have seen next to nothing; a few steps
# with a small but rising rate (**warm-up**) are a cheap insurance, and large Transformers often fail without it. Towards the **end**, the
# noise of the batches keeps the point dancing (section 3), and a falling rate lets it settle. The usual shape: a straight line up over
# `warmup` steps, then half a cosine wave down to `floor`. With $p$ the progress from 0 at step `warmup` to 1 at step `total`,
#
# $$ \alpha(t) = \text{peak}\cdot\frac{t + 1}{\text{warmup} + 1} \;\;\text{while } t < \text{warmup}, \qquad
#    \alpha(t) = \text{floor} + (\text{peak} - \text{floor})\,\frac{1 + \cos \pi p}{2} \;\;\text{then.} $$


# %% exercise="warmup_cosine" minutes=8 level=2
def warmup_cosine(step, total, warmup, peak, floor=0.0):
    """The learning rate of one step.

    step: counted from 0; total: from this step on the rate stays at `floor`; 0 <= warmup < total
    On the way up the rate may be below `floor`.

    >>> [round(float(warmup_cosine(step, total=6, warmup=2, peak=0.3)), 3) for step in range(8)]
    [0.1, 0.2, 0.3, 0.256, 0.15, 0.044, 0.0, 0.0]
    """
    ### BEGIN SOLUTION
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / (total - warmup))  # a cosine would rise again after 1
    return floor + (peak - floor) * (1 + np.cos(np.pi * progress)) / 2
    ### END SOLUTION


# %% check="warmup_cosine"
check("optimizers.warmup_cosine", warmup_cosine)

# %% [markdown] lang="en"
# ### A wild slope
#
# One odd batch, or one cliff, gives a slope a hundred times as long as all others, and a single step ruins what a thousand have built.
# **Clipping** shortens a slope that is longer than `max_norm`, and keeps its direction. A network's gradient comes as several arrays, but
# it is *one* vector: its length is the root of the sum of **all** squares, and one factor shortens all arrays.


# %% exercise="clip_by_global_norm" minutes=8 level=2
def clip_by_global_norm(grads, max_norm):
    """Shorten a gradient that comes as a list of arrays.

    → (list of new arrays, the length that was found before clipping)
    A gradient no longer than max_norm keeps its numbers. What was given is left as it was.

    >>> clipped, length = clip_by_global_norm([np.array([3.0]), np.array([[4.0]])], max_norm=1.0)
    >>> clipped[0].round(6), clipped[1].round(6), round(float(length), 6)
    (array([0.6]), array([[0.8]]), 5.0)
    """
    ### BEGIN SOLUTION
    length = np.sqrt(sum(np.sum(grad**2) for grad in grads))
    factor = min(1.0, max_norm / length) if length > 0 else 1.0
    return [factor * grad for grad in grads], length
    ### END SOLUTION


# %% check="clip_by_global_norm"
check("optimizers.clip_by_global_norm", clip_by_global_norm)

# %% [markdown] lang="en"
# ### Do they help?
#
# One training loop with everything in it. We train with momentum, 300 steps on batches of 32 rows, from five seeds (start and batches), and
# report the loss on all training rows, which is what an optimiser is there to lower. (Chapter 05 is about the held-out rows.)


# %%
def train_with(rule, seed, lr, steps=300, schedule=None, max_norm=None, **settings):
    """Train our network by any rule → θ. schedule: step → factor on lr."""
    theta, state = pack(MLP(MLPConfig((64, 64, 10)), seed=seed).params), {}
    rng = np.random.default_rng(seed)
    for step in range(steps):
        _loss, grad = digit_hill(theta, rng.integers(len(x_train), size=32))
        if max_norm is not None:
            (grad,), _length = clip_by_global_norm([grad], max_norm)
        factor = 1.0 if schedule is None else schedule(step)
        theta, state = rule(theta, grad, state, lr=lr * factor, **settings)
    return theta


def constant(step):
    return 1.0


def cosine(step):
    return warmup_cosine(step, total=300, warmup=0, peak=1.0)


def warm_cosine(step):
    return warmup_cosine(step, total=300, warmup=30, peak=1.0)


# %% train
def final_losses(rule, lr, seeds=range(5), **settings):
    """Loss on all training rows after training, one for each seed; infinite where it broke down."""
    with np.errstate(all="ignore"):
        found = [digit_hill(train_with(rule, seed, lr, **settings), every_row)[0] for seed in seeds]
    return np.nan_to_num(np.array(found), nan=np.inf)


for lr in (0.1, 0.3, 0.5):
    runs = {rule.__name__: {"schedule": rule} for rule in (constant, cosine, warm_cosine)}
    runs["warm_cosine, clipped to 1"] = {"schedule": warm_cosine, "max_norm": 1.0}
    for name, settings in runs.items():
        found = final_losses(momentum, lr, **settings)
        print(
            f"lr {lr}, {name:26s}: mean {found.mean():.3f},",
            f"from {found.min():.3f} to {found.max():.3f}",
        )

# %% [markdown] lang="en"
# Honest reading, five seeds each:
#
# - **A falling rate** is worth a lot where the rate is large: at 0.3 the loss ends several times lower than with a constant one. At 0.1 the
#   means are alike, but not because it does nothing: two effects cancel. The falling rates add up to half the way, so the best run gets less
#   far; but all five runs end close together, where the constant rate leaves them dancing, one of them far above the others.
# - **Clipping** makes little difference where training goes well, and rescues the rate that is too large: at 0.5 the loss ends several
#   times lower with it.
# - **Warm-up** makes no clear difference in this small network, where no start is wild. We keep it because it costs nothing here and is
#   needed elsewhere.
#
# And the two ways to let weights shrink (section 7)? Adam for 300 steps from one seed, without decay, with $\lambda\theta$ added to the
# slope, and with AdamW, $\lambda = 0.01$ both times:


# %%
def adam_added(x, grad, state, lr, weight_decay):
    """Adam with the decay added to the slope, the old way."""
    return mend_adaptive_momentum(x, grad + weight_decay * x, state, lr)


for name, rule, decay in (
    ("without", adamw, 0.0),
    ("added to the slope", adam_added, 0.01),
    ("AdamW", adamw, 0.01),
):
    trained = train_with(rule, 0, 0.01, weight_decay=decay)
    print(
        f"decay {name:18s}: all weights together {np.linalg.norm(trained):5.2f} long,",
        f"loss {digit_hill(trained, every_row)[0]:.3f}",
    )

# %% [markdown] lang="en"
# With the same $\lambda$, added decay takes more than half of the length and spoils the loss; AdamW takes about two per cent. That makes
# neither the better one, for this is the loss on rows that were trained on. It shows that a $\lambda$ means different things to the two,
# and cannot be carried from one to the other.

# %% [markdown] lang="en"
# ## 9 · A fair race
#
# "Adam is better than gradient descent": at which rate? A comparison in which one side was tuned and the other was not says nothing. Here
# each rule gets **the same effort**: the same nine rates, half a decade apart from 0.001 to 10; 150 steps at a constant rate; three seeds
# to choose the rate, and **five other seeds** to judge the chosen one. (Judging by the seeds that chose would flatter.)

# %% train
contestants = {
    "gradient descent": (lambda x, grad, state, lr: (x - lr * grad, state), {}),
    "momentum": (momentum, {}),
    "Nesterov": (momentum, {"nesterov": True}),
    "normalised": (normalised_momentum, {}),
    "AdaGrad": (adagrad, {}),
    "RMSProp": (rmsprop, {}),
    "self-adapting": (self_adapting, {}),
    "Adam": (mend_adaptive_momentum, {}),
}
race_rates = np.geomspace(0.001, 10, 9)
curves, judged = {}, {}
for name, (rule, settings) in contestants.items():
    curves[name] = [
        final_losses(rule, lr, seeds=range(3), steps=150, **settings).mean() for lr in race_rates
    ]
    best = float(race_rates[int(np.argmin(curves[name]))])
    judged[name] = final_losses(rule, best, seeds=range(10, 15), steps=150, **settings)
    broken = int(np.isinf(judged[name]).sum())
    print(
        f"{name:16s} best rate {best:6.3f}: median loss {np.median(judged[name]):.3f}, "
        f"{judged[name].min():.3f} to {judged[name].max():.3f}"
        + (f", broke down in {broken} of 5" if broken else "")
    )

# %% train
print(f"Adam at its usual 0.001: loss {curves['Adam'][0]:.3f} after 150 steps")
print(
    "gradient descent, rate and loss:",
    [
        f"{lr:.3g}: {loss:.3f}"
        for lr, loss in zip(race_rates, curves["gradient descent"], strict=True)
    ],
)

figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
looks = ("-", "--", "-.", ":", "-", "--", ":", "-")
marks = ("o", "s", "^", "v", "D", "x", "+", "*")
for (name, curve), look, mark in zip(curves.items(), looks, marks, strict=True):
    axis.loglog(
        race_rates,
        np.minimum(curve, 5),
        look,
        marker=mark,
        label=name,
        linewidth=2.5 if name == "Adam" else 1.3,
    )
axis.axhline(np.log(10), color="0.5", linewidth=0.8)
axis.text(0.0011, 2.45, "has learnt nothing", fontsize=9)
axis.set(
    xlabel="learning rate",
    ylabel="loss after 150 steps (mean of 3 seeds; 5: that or more)",
    ylim=(0.05, 6),
)
axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.close(figure)
show_static(
    figure,
    alt="Loss after training against the learning rate, one line with its own mark for each optimiser: "
    "all but self-adapting are valleys, with the lowest point at different rates.",
)

# %% [markdown] lang="en"
# What this small race shows, and what not:
#
# - **Every rule has its own best rate.** Carry a rate from one rule to another and you measure the transfer, not the rule. Adam's 0.001 is
#   the libraries' default and no law: far too small for 150 steps here, too large for a large model. (GPT-3 was trained with 0.0006 in its
#   smallest size of 125 million numbers, with 0.00006 in its largest of 175 billion: Brown et al., 2020, table 2.1.)
# - **Tuned, the good rules are close.** What separates them on this task is less than what a rate ten times too large or too small costs any
#   of them.
# - **The range test of section 8 was on the cautious side.** For gradient descent it advised 0.06 to 0.31. The best of the nine rates, 1.0,
#   lies above that; at the upper end, 0.316, the loss is nearly as good, towards the lower end much worse. It took 108 steps where the race
#   took 27 runs of 150, and one such run is good to a factor of two or three, no better.
# - **"Self-adapting" at its word** is not in that company, as its formula made us expect.
# - One small network, one data set, 150 steps. On large Transformers the gap between Adam and tuned SGD is real and well documented; here
#   it could not show.

# %% [markdown] lang="en"
# ## 10 · Measured: against PyTorch
#
# Are yours the same as those of `torch.optim`? A hundred steps with random slopes in float64, at three scales: slopes of about $10^{-7}$, 1
# and $10^{7}$. We compare **steps**, relative to their largest, because at $10^{-7}$ a rule that did nothing at all would be off by only
# $10^{-7}$.

# %%
pairs = {
    "momentum": (momentum, {"beta": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    "Nesterov": (
        momentum,
        {"nesterov": True},
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True},
    ),
    "AdaGrad": (adagrad, {}, torch.optim.Adagrad, {}),
    "RMSProp": (rmsprop, {}, torch.optim.RMSprop, {}),
    "Adam": (mend_adaptive_momentum, {}, torch.optim.Adam, {}),
    "AdamW": (adamw, {"weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
}
for name, (rule, ours, kind, theirs) in pairs.items():
    worst = []
    for scale in (1e-7, 1.0, 1e7):
        rng = np.random.default_rng(0)
        x, state = np.zeros(20), {}
        leaf = torch.zeros(20, dtype=torch.float64, requires_grad=True)
        optimizer, mine, library = kind([leaf], lr=0.01, **theirs), [x], [x]
        for _step in range(100):
            grad = scale * rng.normal(size=20)
            x, state = rule(x, grad, state, lr=0.01, **ours)
            leaf.grad = torch.from_numpy(grad)
            optimizer.step()
            mine.append(x)
            library.append(leaf.detach().numpy().copy())
        steps = np.diff(library, axis=0)
        worst.append(np.abs(np.diff(mine, axis=0) - steps).max() / np.abs(steps).max())
    print(f"{name:9s} differs from torch by at most {max(worst):.0e} of a step")

# %% [markdown] lang="en"
# And how fast? Adam on a million numbers, yours against torch, on one thread each. They take turns, so that a busy moment of your machine
# hits both alike.

# %%
torch.set_num_threads(1)
size = 1_000_000
x, grad, state = np.ones(size, np.float32), np.full(size, 0.5, np.float32), {}
leaf = torch.ones(size, requires_grad=True)
leaf.grad = torch.full((size,), 0.5)
optimizer = torch.optim.Adam([leaf])
clocks = {"yours": [], "torch": []}
for _turn in range(15):
    begin = time.perf_counter()
    x, state = mend_adaptive_momentum(x, grad, state)
    middle = time.perf_counter()
    optimizer.step()
    clocks["yours"].append(middle - begin)
    clocks["torch"].append(time.perf_counter() - middle)
medians = {name: np.median(times[3:]) * 1e3 for name, times in clocks.items()}
print(
    {name: f"{median:.1f} ms" for name, median in medians.items()},
    f"ratio {medians['yours'] / medians['torch']:.1f}",
)
bytes_kept = sum(np.asarray(value).nbytes for value in state.values())
print(f"Adam's state: {bytes_kept / x.nbytes:.0f} times the memory of the parameters")

# %% [markdown] lang="en"
# Both do the same arithmetic, and much of the time goes into moving numbers between memory and processor. Yours makes a new array for each
# operation, torch writes over its own. For a network the step of the optimiser is the smaller part anyway: the gradient costs more. What
# counts in large models is the last line: Adam remembers **two numbers for every parameter**.

# %% [markdown] lang="en"
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | the loss explodes within a few steps | the rate is beyond 2/λmax of the steepest direction | a tenth of the rate; clip; warm up |
# | the loss falls, ever more slowly | a ravine: κ sets the pace | momentum or Adam; scale the inputs (chapter 02) |
# | the loss falls and then dances on a level | the noise of the batches at a constant rate | let the rate fall; a larger batch |
# | after a change of library nothing moves | summing momentum became averaging momentum | multiply the rate by 1/(1 - β) |
# | the first Adam steps are far too long or too short | no bias correction | divide by $1 - \beta^t$, $t = 1$ in the first step |
# | Adam behaves like sign descent, all steps `lr` long | its state is made anew in every step | keep the state; in PyTorch make the optimiser once, before the loop |
# | Adam hardly moves where slopes are tiny | ε inside the root, or ε too large | √s + ε; compare ε with the size of your slopes |
# | `nan` after Adam's very first step | `t` counts from 0, and $1 - \beta^0$ is 0 | count $t$ from 1 |
# | `nan` at a place where the slope is exactly 0 | 0/0: no ε, or v/‖v‖ of a zero | ε in the denominator; stay when the length is 0 |
# | the first step of a schedule does nothing | the warm-up is step/warmup, which starts at 0 | (step + 1)/(warmup + 1) |
# | the schedule jumps at the end of its warm-up | progress is counted from step 0 instead of from `warmup` | plot all rates before you train |
# | with Adam, weight decay acts unevenly: weights with small slopes vanish, steep ones hardly shrink | it is added to the slope and divided by √s | AdamW; λ does not carry over |
# | clipped training goes in odd directions | every array is clipped by its own length | one factor for all |

# %% [markdown] lang="en"
# ## Questions from the source articles
#
# **Initialise, compute the gradient, update, repeat "until a stopping condition". Which?** In practice: a number of steps fixed beforehand
# (the cosine needs it), or no more progress on rows that are held out (chapter 05). A slope of length 0 is not waited for; with batches it
# never comes.
#
# **"Repeat steps 2 and 3" of which list?** In the list of plain gradient descent, 2 is the gradient and 3 the update: right. The list of
# stochastic gradient descent has one step more in front, and those of the three momentum rules have the velocity's update before the
# parameters', but all four still end on "repeat steps 2 and 3". At their word a row is drawn and its gradient computed (or the gradient
# computed and the velocity changed) again and again, while $\theta$ moves once, in the first round. Step 4 belongs in the loop.
#
# **Does stochastic gradient descent only save computing?** Mainly: a step costs the same however many rows there are. But the shivering
# also shakes the point off ridges. In the figure's saddle, plain descent sits near (0, 0) for long, with no noise to push it off.
#
# **Does momentum "accelerate" descent?** Where slopes are steady, up to $1/(1 - \beta)$-fold; in a ravine from $\kappa$ to $\sqrt\kappa$;
# not everywhere. Averaging momentum at an unchanged rate, as in the article, ends up at gradient descent's pace under a steady slope and no
# faster; in a ravine it helps a little, and it bears larger rates (section 4).
#
# **What does "adaptive" mean?** That each coordinate's rate follows from its own slopes. Normalised momentum is not adaptive in this sense,
# AdaGrad, RMSProp and Adam are.
#
# **What does `optimizer='adam'` in the articles' programs stand for?** Adam with a rate of 0.001, $\beta_1 = 0.9$ and $\beta_2 = 0.999$;
# Keras takes $\epsilon = 10^{-7}$ where PyTorch takes $10^{-8}$. Nor is it the same $\epsilon$: Keras adds it to $\sqrt{s}$, *before* the
# bias is corrected (the paper's "epsilon hat"), which matters in the first steps. No schedule, no decay, no clipping: a decent start, and
# no more than that.
#
# **Is the algorithm chosen when the model is built?** One article says so: among its steps for building a model it chooses an algorithm,
# shows the list of layers as the code of that step, and shows the line that sets optimiser and loss as the code that "initialises the
# parameters". The optimiser is no part of the model: the same network can be trained by any of these rules, and after training nothing of
# the optimiser is needed. You trained one network with eight of them. And setting an optimiser initialises nothing but its own memory;
# weights get their first values where the layers are made.

# %% [markdown] lang="en"
# ## Bonus: only the sign
#
# (Not graded.) Adam's first step is `lr` times the sign of the slope. What if you always took only the sign? Write
# `signum(x, grad, state, lr, beta=0.9)`, which keeps a mean of the slopes and steps by `lr * np.sign(mean)`, and enter it in the race of
# section 9. It remembers one number per parameter instead of two. (A close relative, *Lion*, was found in 2023 by a program that searched
# for optimisers.)
#
# <details><summary>One way to do it</summary>
#
# <pre>
# def signum(x, grad, state, lr=0.01, beta=0.9):
#     mean = beta * state.get("mean", 0.0) + (1 - beta) * grad
#     return x - lr * np.sign(mean), {"mean": mean}
#
# for lr in (0.0003, 0.001, 0.003, 0.01, 0.03):
#     print(lr, final_losses(signum, lr, seeds=range(3), steps=150).mean())
# </pre>
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# All rules of this chapter live on in `course_lib.scratch.optim` (NumPy) and `course_lib.optimizers` (the same for PyTorch), the rates in
# `course_lib.scratch.schedules`, the range test in `course_lib.scratch.range_test`. **Next:** chapter 05 builds the whole training loop in
# PyTorch, and asks about the rows that the network has not seen.
#
# *Further reading:* Polyak, "Some methods of speeding up the convergence of iteration methods" (1964). Kingma & Ba, "Adam: a method for
# stochastic optimization", ICLR 2015. Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019. Smith, "Cyclical learning
# rates for training neural networks", WACV 2017. Goh, "Why momentum really works", Distill (2017).
