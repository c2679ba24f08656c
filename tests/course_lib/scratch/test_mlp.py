from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from course_lib.scratch.functional import cross_entropy
from course_lib.scratch.gradcheck import check_gradients
from course_lib.scratch.mlp import MLP, MLPConfig, train

TORCH: dict[Literal["relu", "tanh", "sigmoid"], Callable] = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
every_activation = pytest.mark.parametrize("activation", TORCH)


def batch(config, rows, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, config.sizes[0])).astype(config.dtype), rng.integers(config.sizes[-1], size=rows)


def torch_loss_and_gradients(model, x, labels):
    leaves = {name: torch.tensor(param, requires_grad=True) for name, param in model.params.items()}
    out = torch.from_numpy(x)
    depth = len(leaves) // 2
    for number in range(1, depth + 1):
        out = out @ leaves[f"weight{number}"] + leaves[f"bias{number}"]
        if number < depth:
            out = TORCH[model.config.activation](out)
    loss = torch.nn.functional.cross_entropy(out, torch.from_numpy(labels))
    loss.backward()
    return out.detach().numpy(), loss.item(), {name: np.asarray(leaf.grad) for name, leaf in leaves.items()}


@every_activation
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5).map(tuple), rows=st.integers(1, 7), seed=st.integers(0, 1000))
def test_logits_loss_and_gradients_agree_with_torch_autograd(activation, sizes, rows, seed):
    model = MLP(MLPConfig(sizes, activation), seed)
    for name, param in model.params.items():
        param += 0.1 * np.random.default_rng([seed, len(name)]).normal(size=param.shape)  # so that no bias is zero
    x, labels = batch(model.config, rows, seed)
    logits, loss, grads = torch_loss_and_gradients(model, x, labels)
    ours, our_grads = model.loss_and_gradients(x, labels)
    np.testing.assert_allclose(model.logits(x), logits, rtol=1e-10, atol=1e-10)
    assert ours == pytest.approx(loss, rel=1e-10, abs=1e-10)
    assert our_grads.keys() == grads.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(our_grads[name], grad, rtol=1e-10, atol=1e-10, err_msg=name)


@every_activation
def test_gradients_agree_with_central_differences(activation):
    model = MLP(MLPConfig((4, 5, 3), activation), seed=1)
    x, labels = batch(model.config, 6)
    _, grads = model.loss_and_gradients(x, labels)
    report = check_gradients(lambda params: cross_entropy(model.with_params(params).logits(x), labels), model.params, grads)
    assert len(report) == 4 and all(check.ok for check in report.values()), report


def test_the_gradient_check_catches_a_bias_gradient_averaged_twice():
    model = MLP(MLPConfig((4, 5, 3)), seed=1)
    x, labels = batch(model.config, 6)
    _, grads = model.loss_and_gradients(x, labels)
    grads["bias2"] /= len(x)
    report = check_gradients(lambda params: cross_entropy(model.with_params(params).logits(x), labels), model.params, grads)
    assert [name for name, check in report.items() if not check.ok] == ["bias2"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_of_the_configuration_holds_throughout(dtype):
    model = MLP(MLPConfig((4, 5, 3), dtype=dtype))
    x, labels = np.random.default_rng(0).integers(0, 16, size=(6, 4)), np.array([0, 1, 2, 0, 1, 2])
    _, grads = model.loss_and_gradients(x, labels)
    train(model, x, labels, epochs=1)
    assert {each.dtype for each in (model.logits(x), *grads.values(), *model.params.values())} == {np.dtype(dtype)}


def test_parameters_are_named_and_shaped_by_depth():
    assert {name: param.shape for name, param in MLP(MLPConfig((7, 5, 3))).params.items()} == {
        "weight1": (7, 5),
        "bias1": (5,),
        "weight2": (5, 3),
        "bias2": (3,),
    }


def test_a_pass_changes_neither_data_nor_parameters():
    model = MLP(MLPConfig((4, 5, 3)))
    x, labels = batch(model.config, 6)
    before = [each.copy() for each in (x, labels, *model.params.values())]
    model.loss_and_gradients(x, labels)
    model.predict(x)
    assert all((each == was).all() for each, was in zip((x, labels, *model.params.values()), before, strict=True))


def test_predict_names_the_class_of_the_largest_logit():
    model = MLP(MLPConfig((4, 5, 3)))
    x, _ = batch(model.config, 50)
    assert (model.predict(x) == torch.from_numpy(model.logits(x)).argmax(1).numpy()).all()


def test_other_parameters_go_into_a_copy_or_into_params_and_the_model_uses_them():
    model, donor = MLP(MLPConfig((4, 5, 3)), seed=0), MLP(MLPConfig((4, 5, 3)), seed=1)
    x, _ = batch(model.config, 6)
    before = model.logits(x)
    assert (model.with_params(donor.params).logits(x) == donor.logits(x)).all()
    assert (model.logits(x) == before).all()
    model.params["weight1"] = donor.params["weight1"]
    assert not np.allclose(model.logits(x), before)


def test_weights_start_at_the_scale_that_suits_the_activation():
    spread = {name: MLP(MLPConfig((400, 300, 10), activation=name)).params["weight1"].std() for name in TORCH}
    assert spread["relu"] == pytest.approx((2 / 400) ** 0.5, rel=0.01)  # He
    assert spread["tanh"] == spread["sigmoid"] == pytest.approx((2 / 700) ** 0.5, rel=0.01)  # Glorot


@pytest.mark.parametrize("wrong", [{}, {"weight1": np.zeros((4, 3)), "bias1": np.zeros((1, 3))}, {"weight1": np.zeros((4, 3))}])
def test_parameters_of_other_names_or_shapes_are_refused(wrong):
    with pytest.raises(ValueError, match="wanted parameters of shapes"):
        MLP(MLPConfig((4, 3))).with_params(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": (4,)}, "sizes"),
        ({"sizes": (4, 0, 3)}, "all at least 1"),
        ({"activation": "gelu"}, "'gelu'"),
        ({"dtype": "int32"}, "'int32'"),
    ],
)
def test_a_configuration_that_makes_no_network_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLPConfig(**arguments)


class Recorder(MLP):
    """An MLP that notes which rows each step saw."""

    def __init__(self, config):
        super().__init__(config)
        self.seen = []

    def loss_and_gradients(self, x, labels):
        self.seen.append(np.asarray(x, int)[:, 0].tolist())
        return super().loss_and_gradients(x, labels)


@settings(max_examples=30)
@given(rows=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 100))
def test_an_epoch_sees_every_row_once_in_full_batches_but_the_last(rows, batch_size, seed):
    model = Recorder(MLPConfig((1, 2)))
    train(model, np.arange(rows)[:, None], np.zeros(rows, int), epochs=2, batch_size=batch_size, lr=0.001, seed=seed)
    batches = -(-rows // batch_size)
    orders = [np.concatenate(model.seen[:batches]).tolist(), np.concatenate(model.seen[batches:]).tolist()]
    assert [sorted(order) for order in orders] == [list(range(rows))] * 2
    assert all(len(rows_seen) == batch_size for number, rows_seen in enumerate(model.seen, start=1) if number % batches)
    if rows > 20:
        assert orders[0] != orders[1]  # a fresh order each time


def test_labels_travel_with_their_rows_through_the_shuffle():
    x = np.eye(30)
    model = MLP(MLPConfig((30, 30)))
    train(model, x, np.arange(30)[::-1], epochs=60, batch_size=7, lr=2.0)
    assert (model.predict(x) == np.arange(30)[::-1]).all()


def test_training_takes_the_steps_that_torch_takes_on_the_same_batches():
    config = MLPConfig((6, 8, 4), "tanh")
    model, by_torch = MLP(config, seed=2), MLP(config, seed=2)
    x, labels = batch(config, 20)
    history = train(model, x, labels, epochs=3, batch_size=20, lr=0.5)
    expected = []
    for _ in range(3):
        _, loss, grads = torch_loss_and_gradients(by_torch, x, labels)
        expected.append(loss)
        for name, grad in grads.items():
            by_torch.params[name] = by_torch.params[name] - 0.5 * grad
    assert history == pytest.approx(expected, rel=1e-10)
    for name, param in by_torch.params.items():
        np.testing.assert_allclose(model.params[name], param, rtol=1e-10, atol=1e-10)


def test_the_history_weighs_every_row_alike_and_is_what_on_epoch_hears():
    model = MLP(MLPConfig((4, 3)), seed=0)
    x, labels = batch(model.config, 10)
    heard = []
    history = train(model, x, labels, epochs=3, batch_size=8, lr=0.0, on_epoch=lambda epoch, loss: heard.append((epoch, loss)))
    assert history == pytest.approx([cross_entropy(model.logits(x), labels)] * 3, rel=1e-12)  # lr 0: the loss of the whole set
    assert heard == list(enumerate(history, start=1))


def test_one_seed_gives_one_history_and_another_seed_another():
    def run(seed):
        model = MLP(MLPConfig((4, 3)))
        return train(model, *batch(model.config, 20), epochs=2, batch_size=3, seed=seed)

    assert run(0) == run(0) != run(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": -1}, "was given -1 and 32"),
        ({"epochs": 1, "batch_size": 0}, "was given 1 and 0"),
        ({"epochs": 1, "labels": np.zeros(4, int)}, r"x \(5, 4\), labels \(4,\)"),
        ({"epochs": 1, "x": np.zeros((0, 4)), "labels": np.zeros(0, int)}, "at least one row"),
    ],
)
def test_training_settings_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        train(MLP(MLPConfig((4, 3))), **{"x": np.zeros((5, 4)), "labels": np.zeros(5, int), **arguments})


def test_digits_are_learned_to_97_percent_on_held_out_rows_over_five_seeds():
    pixels, labels = load_digits(return_X_y=True)
    accuracies = []
    for seed in range(5):
        x, x_test, y, y_test = train_test_split(pixels / 16, labels, test_size=0.2, stratify=labels, random_state=seed)
        model = MLP(MLPConfig((64, 64, 10)), seed)
        train(model, x, y, epochs=40, batch_size=16, lr=0.5, seed=seed)
        accuracies.append((model.predict(x_test) == y_test).mean())
    assert np.mean(accuracies) >= 0.97, accuracies
