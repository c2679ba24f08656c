"""The optimisers of chapter 04, in NumPy and for torch: each walks where torch.optim walks."""

import copy
import itertools

import numpy as np
import pytest
import torch

from course_lib import optimizers
from course_lib.scratch import optim

# (name, NumPy's, ours for torch, torch's own); all take lr
KINDS = {
    "SGD": ({}, "SGD", torch.optim.SGD, {}),
    "momentum": ({"momentum": 0.9}, "SGD", torch.optim.SGD, {"momentum": 0.9}),
    "Nesterov": ({"momentum": 0.8, "nesterov": True}, "SGD", torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "AdaGrad": ({}, "AdaGrad", torch.optim.Adagrad, {}),
    "RMSProp": ({"alpha": 0.95}, "RMSProp", torch.optim.RMSprop, {"alpha": 0.95}),
    "Adam": ({"betas": (0.85, 0.99)}, "Adam", torch.optim.Adam, {"betas": (0.85, 0.99)}),
    "AdamW": ({"weight_decay": 0.1}, "AdamW", torch.optim.AdamW, {"weight_decay": 0.1}),
}
SCALES = (1e-7, 1.0, 1e7)
EVERY = pytest.mark.parametrize(("kind", "scale"), list(itertools.product(KINDS, SCALES)), ids=lambda value: str(value))
STEPS = 100
SHAPES = {"weight": (4, 3), "bias": (3,), "scale": ()}


def gradients(scale: float) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{name: np.asarray(scale * rng.normal(size=shape)) for name, shape in SHAPES.items()} for _ in range(STEPS)]


def start() -> dict[str, np.ndarray]:
    """Zeros: where the numbers are large, their rounding would hide the steps. AdamW alone needs weights to shrink."""
    return {name: np.zeros(shape) for name, shape in SHAPES.items()}


def torch_path(make, scale: float, dtype=torch.float64) -> np.ndarray:
    """All parameters, laid end to end, after each step."""
    leaves = {name: torch.tensor(param, dtype=dtype, requires_grad=True) for name, param in start().items()}
    optimizer, path = make(leaves.values()), []
    for grads in gradients(scale):
        for name, leaf in leaves.items():
            leaf.grad = torch.tensor(grads[name], dtype=dtype)
        optimizer.step()
        path.append(np.concatenate([leaf.detach().double().numpy().ravel() for leaf in leaves.values()]))
    return np.stack(path)


def numpy_path(make, scale: float) -> np.ndarray:
    params = start()
    optimizer, path = make(params), []
    for grads in gradients(scale):
        optimizer.step(grads)
        path.append(np.concatenate([param.ravel() for param in params.values()]))
    return np.stack(path)


def relative_to_the_steps(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference of any step, as a share of the largest step."""
    steps, theirs = (np.diff(path, axis=0, prepend=0) for path in (found, wanted))
    assert np.abs(theirs).max() > 0
    return float(np.abs(steps - theirs).max() / np.abs(theirs).max())


@EVERY
def test_numpy_walks_where_torch_walks_to_a_millionth_of_a_step_at_any_scale(kind, scale):
    settings, name, theirs, their_settings = KINDS[kind]
    found = numpy_path(lambda params: getattr(optim, name)(params, lr=0.01, **settings), scale)
    assert relative_to_the_steps(found, torch_path(lambda params: theirs(params, lr=0.01, **their_settings), scale)) <= 1e-6


@EVERY
def test_ours_for_torch_walks_where_torch_walks_to_a_millionth_of_a_step_at_any_scale(kind, scale):
    settings, name, theirs, their_settings = KINDS[kind]
    found = torch_path(lambda params: getattr(optimizers, name)(params, lr=0.01, **settings), scale)
    assert relative_to_the_steps(found, torch_path(lambda params: theirs(params, lr=0.01, **their_settings), scale)) <= 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_in_float32_ours_walks_with_torch_as_far_as_float32_can_tell(kind):
    settings, name, theirs, their_settings = KINDS[kind]
    found, wanted = (
        torch_path(make, 1.0, torch.float32)
        for make in (
            lambda params: getattr(optimizers, name)(params, lr=0.01, **settings),
            lambda params: theirs(params, lr=0.01, **their_settings),
        )
    )
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_defaults_are_those_of_torch():
    pairs = [(optimizers.AdaGrad, torch.optim.Adagrad), (optimizers.RMSProp, torch.optim.RMSprop), (optimizers.Adam, torch.optim.Adam)]
    for ours, theirs in [*pairs, (optimizers.AdamW, torch.optim.AdamW), (optimizers.SGD, torch.optim.SGD)]:
        mine, library = (kind([torch.zeros(1)]).defaults for kind in (ours, theirs))
        shared = (mine.keys() & library.keys()) - {"weight_decay" if ours is optimizers.Adam else ""}
        assert {key: mine[key] for key in shared} == {key: library[key] for key in shared}
        assert "lr" in shared
    numpy_defaults = {name: getattr(optim, name)({}) for name in ("AdaGrad", "RMSProp", "Adam", "AdamW")}
    for name, optimizer in numpy_defaults.items():
        defaults = getattr(optimizers, name)([torch.zeros(1)]).defaults
        known = vars(optimizer).keys() & defaults.keys()
        assert {"lr", "eps"} <= known
        assert {key: vars(optimizer)[key] for key in known} == {key: defaults[key] for key in known}


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw_shrinks_weights_as_torch_does(decay):
    first = np.random.default_rng(1).normal(size=5)
    leaf, twin = (torch.tensor(first, requires_grad=True) for _ in range(2))
    mine = first.copy()
    pair = optimizers.AdamW([leaf], lr=0.1, weight_decay=decay), torch.optim.AdamW([twin], lr=0.1, weight_decay=decay)
    scratch = optim.AdamW({"x": mine}, lr=0.1, weight_decay=decay)
    for grad in np.random.default_rng(2).normal(size=(50, 5)):
        leaf.grad, twin.grad = torch.from_numpy(grad), torch.from_numpy(grad)
        for optimizer in pair:
            optimizer.step()
        scratch.step({"x": grad})
    np.testing.assert_allclose(leaf.detach(), twin.detach(), rtol=1e-10)
    np.testing.assert_allclose(mine, twin.detach(), rtol=1e-10)


# normalised momentum, which torch.optim does not have


@pytest.mark.parametrize("scale", SCALES)
def test_each_step_of_normalised_momentum_is_lr_long_over_all_parameters_together(scale):
    for path in (
        numpy_path(lambda params: optim.NormalizedMomentum(params, 0.3, momentum=0.7), scale),
        torch_path(lambda params: optimizers.NormalizedMomentum(params, 0.3, momentum=0.7), scale),
    ):
        np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0, prepend=0), axis=1), 0.3, rtol=1e-10)


def test_normalised_momentum_follows_its_formula_in_numpy_and_in_torch():
    velocity, x, wanted = np.zeros(16), np.zeros(16), []
    for grads in gradients(1.0):
        velocity = 0.7 * velocity + 0.3 * np.concatenate([grad.ravel() for grad in grads.values()])
        x = x - 0.3 * velocity / np.linalg.norm(velocity)
        wanted.append(x)
    np.testing.assert_allclose(numpy_path(lambda params: optim.NormalizedMomentum(params, 0.3, momentum=0.7), 1.0), wanted, rtol=1e-9)
    np.testing.assert_allclose(torch_path(lambda params: optimizers.NormalizedMomentum(params, 0.3, momentum=0.7), 1.0), wanted, rtol=1e-9)


def test_where_the_velocity_is_zero_normalised_momentum_stays():
    x = np.ones(3)
    optim.NormalizedMomentum({"x": x}, 0.1).step({"x": np.zeros(3)})
    leaf = torch.ones(3, requires_grad=True)
    leaf.grad = torch.zeros(3)
    optimizers.NormalizedMomentum([leaf], 0.1).step()
    assert x.tolist() == leaf.tolist() == [1, 1, 1]


# torch's contract


MAKERS = {
    "momentum": lambda params: optimizers.SGD(params, lr=0.05, momentum=0.9),
    "NormalizedMomentum": lambda params: optimizers.NormalizedMomentum(params, lr=0.05),
    "AdaGrad": optimizers.AdaGrad,
    "RMSProp": optimizers.RMSProp,
    "Adam": optimizers.Adam,
    "AdamW": optimizers.AdamW,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_that_was_saved_and_resumed_ends_where_an_unbroken_one_does(name):
    slopes = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))

    def go_on(leaf, optimizer, some):
        for slope in some:
            leaf.grad = slope.clone()
            optimizer.step()

    leaf = torch.ones(4, requires_grad=True)
    optimizer = MAKERS[name]([leaf])
    go_on(leaf, optimizer, slopes[:6])
    saved, point = copy.deepcopy(optimizer.state_dict()), leaf.detach().clone()
    go_on(leaf, optimizer, slopes[6:])

    again = point.requires_grad_()
    resumed = MAKERS[name]([again])
    resumed.load_state_dict(saved)
    go_on(again, resumed, slopes[6:])
    assert torch.equal(leaf, again)


@pytest.mark.parametrize("name", MAKERS)
def test_a_parameter_without_a_gradient_is_passed_over(name):
    moved, left = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    moved.grad = torch.ones(2)
    MAKERS[name]([moved, left]).step()
    assert left.tolist() == [1, 1] and moved.tolist() != [1, 1]


@pytest.mark.parametrize("name", MAKERS)
def test_a_closure_is_called_with_gradients_enabled_and_its_loss_returned(name):
    x = torch.tensor([3.0], requires_grad=True)
    optimizer = MAKERS[name]([x])

    def closure():
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9
    assert 0 < x.item() < 3


def test_groups_have_rates_of_their_own_and_torchs_schedulers_change_them():
    one, other = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = optimizers.SGD([{"params": [one], "lr": 0.1}, {"params": [other], "lr": 0.2}])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for _ in range(2):
        one.grad, other.grad = torch.ones(1), torch.ones(1)
        optimizer.step()
        scheduler.step()
    assert (one.item(), other.item()) == pytest.approx((-0.15, -0.3))


def test_settings_out_of_range_are_refused_in_both():
    for make in (lambda **settings: optim.Adam({}, **settings), lambda **settings: optimizers.Adam([torch.zeros(1)], **settings)):
        with pytest.raises(ValueError, match=r"betas\[1\] must be at least 0 and less than 1, was given 1"):
            make(betas=(0.9, 1.0))
    for make in (lambda **settings: optim.SGD({}, 0.1, **settings), lambda **settings: optimizers.SGD([torch.zeros(1)], 0.1, **settings)):
        with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
            make(nesterov=True)
        with pytest.raises(ValueError, match=r"momentum must be at least 0 and less than 1, was given -0\.1"):
            make(momentum=-0.1)
    with pytest.raises(ValueError, match="lr must be at least 0, was given -1"):
        optimizers.AdamW([torch.zeros(1)], lr=-1)
    with pytest.raises(ValueError, match="weight_decay must be at least 0, was given -1"):
        optim.AdamW({}, weight_decay=-1)


# clipping


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6])
def test_clipping_is_torchs(max_norm):
    grads = gradients(1.0)[0]
    leaves = [torch.tensor(param, requires_grad=True) for param in start().values()]
    for leaf, grad in zip(leaves, grads.values(), strict=True):
        leaf.grad = torch.tensor(grad)
    clipped, norm = optim.clip_by_global_norm(grads, max_norm)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(leaves, max_norm).item())
    for leaf, grad in zip(leaves, clipped.values(), strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(grad, leaf.grad, rtol=1e-5)


def test_clipping_keeps_dtype_and_what_it_was_given_and_has_nothing_to_do_with_zeros():
    grads = {"a": np.full(4, 3.0, np.float32), "b": np.zeros(2, np.float32)}
    clipped, norm = optim.clip_by_global_norm(grads, 1.0)
    assert norm == 6.0 and clipped["a"].dtype == np.float32
    np.testing.assert_allclose(clipped["a"], 0.5, rtol=1e-6)
    assert grads["a"].tolist() == [3.0] * 4
    assert optim.clip_by_global_norm({"b": np.zeros(2)}, 1.0)[1] == 0
    with pytest.raises(ValueError, match="max_norm must be above 0, was given 0"):
        optim.clip_by_global_norm(grads, 0)
