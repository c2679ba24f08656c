"""course_lib.train, checkpoint, initialise, normalise, nets and search: against torch and scikit-learn, and against their own promises."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn import functional as F

from course_lib import checkpoint, nets
from course_lib.data import breast_cancer, digits
from course_lib.device import best_device
from course_lib.initialise import initial_weights, initialise, weight_std
from course_lib.normalise import BatchNorm, layer_norm
from course_lib.probe import input_slopes
from course_lib.search import best, choice, log_uniform, random_search, uniform
from course_lib.train import EarlyStopping, TrainConfig, answers, epoch_order, evaluate, evaluation_mode, fit, predict


def data(rows=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 64, generator=generator), torch.arange(rows) % 10


def built(build=nets.dropout_net, seed=0):
    torch.manual_seed(seed)
    return build()


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


# the loop


def test_full_batch_training_is_plain_descent_of_torch():
    x, y = data()
    net, twin = built(nets.digit_net), built(nets.digit_net)
    fit(net, x, y, TrainConfig(epochs=5, batch_size=40, lr=0.1), make_optimizer=torch.optim.SGD)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        optimizer.step()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_articles_networks_learn_their_tasks_on_average_over_three_seeds():
    split, tumours = digits(seed=0, dtype="float32"), breast_cancer(seed=0)
    scores = {"digits": [], "tumours": []}
    for seed in range(3):
        net = built(nets.digit_net, seed)
        fit(net, torch.from_numpy(split.x_train), torch.from_numpy(split.y_train), TrainConfig(epochs=8, lr=3e-3, seed=seed))
        scores["digits"].append(evaluate(net, torch.from_numpy(split.x_test), torch.from_numpy(split.y_test)).accuracy)
        net, bce = built(nets.tumour_net, seed), F.binary_cross_entropy_with_logits
        rows = [torch.from_numpy(part).float() for part in (tumours.x_train, tumours.y_train[:, None], tumours.x_test, tumours.y_test[:, None])]
        fit(net, rows[0], rows[1], TrainConfig(seed=seed), loss=bce)
        scores["tumours"].append(evaluate(net, rows[2], rows[3], loss=bce).accuracy)
    assert np.mean(scores["digits"]) >= 0.92
    assert np.mean(scores["tumours"]) >= 0.95


@given(rows=st.integers(1, 30), batch_size=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_evaluate_gives_the_mean_over_the_rows_however_they_are_batched(rows, batch_size):
    x, y = data(rows)
    net = built(nets.norm_net)
    scores = evaluate(net, x, y, batch_size=batch_size)
    logits = predict(net, x)
    assert scores.loss == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert scores.accuracy == pytest.approx((logits.argmax(1) == y).double().mean().item())


def test_evaluation_leaves_every_part_in_the_mode_that_it_was_in():
    net = built(nets.dropout_net)
    net[2].eval()
    with evaluation_mode(net):
        assert not any(module.training for module in net.modules())
        assert not torch.is_grad_enabled()
    assert net.training and not net[2].training and net[0].training
    with pytest.raises(RuntimeError), evaluation_mode(net):
        raise RuntimeError
    assert net.training


def test_a_single_logit_is_compared_with_zero_and_several_with_each_other():
    assert answers(torch.tensor([[0.3], [-0.1]])).tolist() == [[1], [0]]
    assert answers(torch.tensor([[0.3, 0.4], [2.0, -1.0]])).tolist() == [1, 0]


def test_an_epochs_order_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    torch.manual_seed(1)
    first = epoch_order(50, seed=3, epoch=4)
    torch.rand(7)
    assert torch.equal(first, epoch_order(50, seed=3, epoch=4))
    assert sorted(first.tolist()) == list(range(50))
    assert len({tuple(epoch_order(50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}) == 25


def test_the_history_is_what_evaluate_says_and_validation_does_not_disturb_training():
    x, y = data()
    with_validation, without = built(), built()
    history = fit(with_validation, x, y, TrainConfig(epochs=3, batch_size=8), validation=data(20, seed=1))
    fit(without, x, y, TrainConfig(epochs=3, batch_size=8))
    assert equal(with_validation.state_dict(), without.state_dict())
    scores = evaluate(with_validation, *data(20, seed=1))
    assert (history[-1].val_loss, history[-1].val_accuracy) == pytest.approx((scores.loss, scores.accuracy))
    assert [epoch.number for epoch in history] == [1, 2, 3]


class Cut(Exception):
    pass


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_run_that_was_cut_off_and_resumed_ends_in_the_same_bits(tmp_path, cut):
    x, y = data()
    config, validation = TrainConfig(epochs=5, batch_size=8, lr=0.01, patience=4), data(20, seed=1)
    whole, file = built(), tmp_path / "run.pt"
    history = fit(whole, x, y, config, validation=validation)

    def stop(epoch):
        if epoch.number == cut:
            raise Cut

    with pytest.raises(Cut):
        fit(built(), x, y, config, validation=validation, file=file, on_epoch=stop)
    torch.rand(1000)  # somebody else draws in between
    np.random.random()  # noqa: NPY002
    resumed = built(seed=99)
    assert fit(resumed, x, y, config, validation=validation, file=file) == history
    assert equal(whole.state_dict(), resumed.state_dict())


def test_early_stopping_ends_with_the_weights_of_the_best_epoch():
    x, y = data(30)
    val = (torch.randn(30, 64, generator=torch.Generator().manual_seed(5)), y)  # labels that have nothing to do with the rows
    net = built(nets.digit_net)
    history = fit(net, x, y, TrainConfig(epochs=60, batch_size=10, lr=0.01, patience=3), validation=val)
    losses = [epoch.val_loss for epoch in history]
    assert len(history) < 60 and len(losses) - 1 - int(np.argmin(losses)) == 3
    assert evaluate(net, *val).loss == pytest.approx(min(losses))


@given(losses=st.lists(st.one_of(st.floats(0, 10), st.just(math.nan)), min_size=1, max_size=20), patience=st.integers(1, 5))
def test_early_stopping_says_stop_when_the_best_lies_patience_epochs_back(losses, patience):
    stopper = EarlyStopping(patience)
    for number, loss in enumerate(losses):
        told = stopper.step(loss)
        seen = [math.inf if math.isnan(value) else value for value in losses[: number + 1]]
        best_epoch = int(np.argmin(seen)) if min(seen) < math.inf else -1
        assert told == (number - best_epoch >= patience)
        assert stopper.best_epoch == best_epoch


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"epochs": -1}, "epochs"), ({"batch_size": 0}, "batch_size"), ({"lr": math.nan}, "lr"), ({"patience": 0}, "patience")],
)
def test_a_setting_without_sense_is_refused_with_its_name(changes, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig(**changes)


def test_early_stopping_without_a_validation_set_is_refused():
    with pytest.raises(ValueError, match="validation"):
        fit(built(), *data(), TrainConfig(patience=2))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    fit(built(), *data(), TrainConfig(epochs=1), file=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="belongs to a run with"):
        fit(built(), *data(), TrainConfig(epochs=1, lr=0.5), file=tmp_path / "run.pt")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_trains_the_same_network_to_the_same_accuracy(tmp_path):
    device = torch.device("cuda")
    split = digits(seed=0, dtype="float32")
    rows = [torch.from_numpy(part).to(device) for part in (split.x_train, split.y_train, split.x_test, split.y_test)]
    net = built(nets.norm_net).to(device)
    fit(net, rows[0], rows[1], TrainConfig(epochs=6, lr=3e-3), file=tmp_path / "run.pt")
    assert evaluate(net, rows[2], rows[3]).accuracy >= 0.93
    resumed = built(nets.norm_net, seed=9).to(device)
    fit(resumed, rows[0], rows[1], TrainConfig(epochs=6, lr=3e-3), file=tmp_path / "run.pt")
    assert equal(net.state_dict(), resumed.state_dict())
    assert next(resumed.parameters()).device.type == best_device().type


# checkpoints


def test_every_generator_goes_on_where_it_was(tmp_path):
    net = built()
    optimizer = torch.optim.Adam(net.parameters())
    checkpoint.save(checkpoint.take_checkpoint(net, optimizer, step=3), tmp_path / "c.pt")
    drawn = random.random(), np.random.normal(size=3).tolist(), torch.rand(3).tolist()  # noqa: NPY002
    restored = checkpoint.load(tmp_path / "c.pt")
    assert restored["step"] == 3
    checkpoint.restore(restored, net, optimizer)
    assert drawn == (random.random(), np.random.normal(size=3).tolist(), torch.rand(3).tolist())  # noqa: NPY002


def test_a_checkpoint_is_a_copy_that_later_steps_do_not_change():
    net = built()
    optimizer = torch.optim.Adam(net.parameters())
    F.cross_entropy(net(data()[0]), data()[1]).backward()
    optimizer.step()
    taken = checkpoint.take_checkpoint(net, optimizer)
    before = copy.deepcopy(taken)
    optimizer.step()
    assert equal(taken["weights"], before["weights"])
    assert torch.equal(taken["optimizer"]["state"][0]["exp_avg"], before["optimizer"]["state"][0]["exp_avg"])


def test_going_on_twice_from_one_checkpoint_gives_the_same_run_twice():
    net = built()
    optimizer = torch.optim.Adam(net.parameters())

    def steps(count):
        for _ in range(count):
            optimizer.zero_grad()
            F.cross_entropy(net(data()[0]), data()[1]).backward()
            optimizer.step()
        return copy.deepcopy(net.state_dict())

    steps(3)
    taken = checkpoint.take_checkpoint(net, optimizer)
    checkpoint.restore(taken, net, optimizer)
    first = steps(3)
    checkpoint.restore(taken, net, optimizer)
    assert equal(steps(3), first)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_generators_are_put_back_from_a_file_that_was_loaded_to_the_gpu(tmp_path):
    net = built()
    checkpoint.save(checkpoint.take_checkpoint(net, torch.optim.Adam(net.parameters())), tmp_path / "c.pt")
    drawn = np.random.normal(size=3).tolist(), torch.rand(3).tolist()  # noqa: NPY002
    checkpoint.set_random_state(checkpoint.load(tmp_path / "c.pt", device="cuda")["random"])
    assert drawn == (np.random.normal(size=3).tolist(), torch.rand(3).tolist())  # noqa: NPY002


def test_a_save_that_fails_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path):
    file = tmp_path / "c.pt"
    checkpoint.save({"step": 1}, file)
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save({"step": lambda: None}, file)
    assert checkpoint.load(file) == {"step": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_an_incomplete_checkpoint_is_refused_by_the_names_of_what_is_missing():
    net = built()
    with pytest.raises(ValueError, match=r"\['optimizer', 'random'\]"):
        checkpoint.restore({"weights": net.state_dict()}, net, torch.optim.Adam(net.parameters()))


# first weights


@pytest.mark.parametrize(("activation", "theirs"), [("relu", "relu"), ("linear", "linear")])
def test_the_size_of_weights_is_that_of_torchs_kaiming_normal(activation, theirs):
    weight = torch.empty(300, 200)
    nn.init.kaiming_normal_(weight, nonlinearity=theirs, generator=torch.Generator().manual_seed(0))
    assert weight.std().item() == pytest.approx(weight_std(200, activation), rel=0.02)
    (ours,) = initial_weights([200, 300], activation, seed=0)
    assert stats.kstest(ours.flatten().numpy() / weight_std(200, activation), "norm").pvalue > 1e-3


def test_weights_of_the_right_size_carry_a_signal_through_50_layers_and_those_of_nn_linear_do_not():
    x = data(200)[0]
    right, default = x, x
    torch.manual_seed(0)
    for weight in initial_weights([64] * 51, "relu", seed=0):
        right, default = torch.relu(right @ weight.T), torch.relu(nn.Linear(64, 64, bias=False)(default)).detach()
    assert 0.05 < right.square().mean().sqrt() < 5
    assert default.square().mean().sqrt() < 1e-15


def test_initialise_redraws_linear_layers_and_nothing_else():
    net = built(lambda: nets.deep_net("batch", depth=3))
    before = copy.deepcopy(net.state_dict())
    initialise(net)
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{place}.{part}" for place in (0, 3, 6, 9) for part in ("weight", "bias")}
    assert net[3].weight.std().item() == pytest.approx(weight_std(64), rel=0.05)


# normalisation


@given(rows=st.integers(2, 20), features=st.integers(1, 8), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_batch_normalisation_equals_torchs_in_both_modes_with_gradients(rows, features, seed):
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = BatchNorm(features), nn.BatchNorm1d(features)
    for _ in range(3):
        x = torch.randn(rows, features, generator=generator) * 2 + 1
        one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        torch.testing.assert_close(ours(one), theirs(other), rtol=1e-3, atol=1e-4)
        (ours(one) ** 3).sum().backward()
        (theirs(other) ** 3).sum().backward()
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_layer_normalisation_equals_torchs(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    x, weight, bias = (torch.randn(*size, generator=generator) for size in (shape, shape[-1:], shape[-1:]))
    torch.testing.assert_close(layer_norm(x, weight, bias), F.layer_norm(x, shape[-1:], weight, bias), rtol=1e-4, atol=1e-5)


def test_input_slopes_are_the_same_for_equal_modules_and_others_without_the_batchs_variance():
    class Frozen(BatchNorm):
        def forward(self, x):
            return (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0).detach() + self.eps) * self.weight + self.bias

    ours, theirs, frozen = BatchNorm(4), nn.BatchNorm1d(4), Frozen(4)
    for module in (ours, theirs, frozen):
        module.apply(input_slopes)
    torch.testing.assert_close(ours.slopes, theirs.slopes)
    assert (frozen.slopes - ours.slopes).abs().max() > 0.1


def test_one_row_in_training_mode_is_refused_with_its_shape():
    with pytest.raises(ValueError, match=r"at least 2 rows.*\(1, 4\)"):
        BatchNorm(4)(torch.zeros(1, 4))


# networks


@pytest.mark.parametrize(
    ("build", "inputs", "outputs"),
    [(nets.tumour_net, 30, 1), (nets.digit_net, 64, 10), (nets.dropout_net, 64, 10), (nets.norm_net, 64, 10), (nets.deep_net, 64, 10)],
)
def test_a_network_gives_logits_of_the_announced_shape_and_comes_from_the_seed(build, inputs, outputs):
    net, twin = built(build), built(build)
    assert equal(net.state_dict(), twin.state_dict())
    assert net(torch.zeros(3, inputs)).shape == (3, outputs)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match="norm must be"):
        nets.deep_net("group")  # type: ignore[arg-type]


# search


def test_log_uniform_is_uniform_in_its_logarithm():
    rng, draw = np.random.default_rng(0), log_uniform(1e-4, 1e-1)
    logs = np.log10([draw(rng) for _ in range(3000)])
    assert stats.kstest(logs, "uniform", args=(-4, 3)).pvalue > 1e-3


def test_a_longer_search_begins_with_the_trials_of_a_shorter_one():
    space = {"a": uniform(0, 1), "b": choice(1, 2, 3)}
    short = random_search(space, lambda a, b: a + b, trials=5, seed=1)
    assert random_search(space, lambda a, b: a + b, trials=9, seed=1)[:5] == short
    assert random_search(space, lambda a, b: a + b, trials=5, seed=2) != short
    assert {trial.settings["b"] for trial in random_search(space, lambda a, b: a, trials=60)} == {1, 2, 3}


def test_a_trial_that_diverged_is_the_worst_and_does_not_end_the_search():
    trials = random_search({"a": uniform(0, 1)}, lambda a: math.nan if a > 0.5 else a, trials=20)
    assert best(trials).score <= 0.5
    assert sum(trial.score == -math.inf for trial in trials) >= 3


def test_thirty_random_trials_come_nearer_to_the_best_rate_than_a_grid_when_one_setting_matters():
    peak = [max(-abs(math.log10(trial.settings["lr"]) + 2.3) for trial in random_search({"lr": log_uniform(1e-4, 1), "b": uniform(0, 1)},
        lambda lr, b: -abs(math.log10(lr) + 2.3), trials=30, seed=seed)) for seed in range(40)]  # fmt: skip
    grid = max(-abs(power + 2.3) for power in np.linspace(-4, 0, 6))
    assert np.mean(peak) > grid
