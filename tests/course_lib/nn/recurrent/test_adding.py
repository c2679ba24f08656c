"""The adding problem: its data, its learners, and the stored curves."""

import dataclasses
import itertools

import pytest
import torch

from course_lib.nn.recurrent.adding import GUESSING, KINDS, SOLVED, Adder, AddingConfig, Attention, Curve, adding_batch, stored, train_adder


def test_two_numbers_are_marked_one_in_each_half_and_the_answer_is_their_sum():
    x, y = adding_batch(500, 50, seed=0)
    assert x.shape == (500, 50, 2) and y.shape == (500, 1)
    marks = x[..., 1]
    assert (marks[:, :25].sum(dim=1) == 1).all() and (marks[:, 25:].sum(dim=1) == 1).all()
    torch.testing.assert_close((x[..., 0] * marks).sum(dim=1, keepdim=True), y)
    places = marks.argmax(dim=1)
    assert places.min() == 0 and places.max() == 24  # every place of the first half occurs
    assert torch.equal(x, adding_batch(500, 50, seed=0)[0]) and not torch.equal(x, adding_batch(500, 50, seed=1)[0])


def test_guessing_the_mean_earns_a_sixth():
    _, y = adding_batch(200_000, 10, seed=0)
    assert ((y - 1) ** 2).mean().item() == pytest.approx(GUESSING, abs=0.002)


def test_attention_knows_no_order_and_its_weights_add_up_to_1():
    torch.manual_seed(0)
    attention, x = Attention(2, 8), torch.randn(3, 10, 2)
    torch.testing.assert_close(attention.weights(x).sum(dim=1), torch.ones(3, 1))
    torch.testing.assert_close(attention(x), attention(x[:, torch.randperm(10)]))


def test_an_lstm_begins_with_a_forget_bias_of_1():
    reader = Adder("LSTM", 8).reader
    assert (reader.bias_ih_l0[8:16] + reader.bias_hh_l0[8:16] == 1).all()


def test_a_run_depends_on_its_arguments_alone_and_attention_learns_ten_steps_quickly():
    config = AddingConfig(length=10, steps=400, tested=200)
    first = train_adder("attention", config, seed=0)
    torch.rand(3)
    assert first == train_adder("attention", config, seed=0)
    assert first.errors[-1] < 0.02 < GUESSING / 2


def test_solved_is_solved_for_good():
    assert Curve("RNN", 0, 5e-3, 50, (0.2, 0.001, 0.2, 0.001, 0.001)).solved_at() == 200
    assert Curve("RNN", 0, 5e-3, 50, (0.001, 0.2)).solved_at() is None
    assert Curve("RNN", 0, 5e-3, 50, (0.001, 0.002)).solved_at() == 50


def test_the_stored_curves_are_whole_and_their_settings_are_the_defaults():
    config, curves, others = stored()
    assert config == AddingConfig() and config.length == 50
    assert {(curve.kind, curve.seed) for curve in others} == {("RNN", seed) for seed in range(3)}
    assert [(curve.kind, curve.seed) for curve in curves] == list(itertools.product(KINDS, range(3)))
    assert all(len(curve.errors) == config.steps // config.every for curve in curves)


def test_the_stored_curves_tell_what_the_chapter_tells():
    _, curves, others = stored()
    solved = {kind: [curve.solved_at() for curve in curves if curve.kind == kind] for kind in KINDS}
    assert None not in solved["LSTM"] + solved["GRU"] + solved["attention"]
    assert max(solved["attention"]) < min(solved["LSTM"] + solved["GRU"])
    assert solved["RNN"] == [None] * 3 and all(min(curve.errors) > GUESSING / 2 for curve in (*curves, *others) if curve.kind == "RNN")


@pytest.mark.slow
def test_a_stored_curve_is_what_training_gives():
    config, curves, _ = stored()
    wanted = next(curve for curve in curves if curve.kind == "attention" and curve.seed == 0)
    found = train_adder("attention", dataclasses.replace(config), seed=0)
    assert found.errors[-1] < SOLVED and found.solved_at() == pytest.approx(wanted.solved_at(), abs=200)


@pytest.mark.gpu
def test_a_gpu_learns_it_too():
    assert train_adder("GRU", AddingConfig(length=10, steps=800, tested=200), seed=0, device="cuda").errors[-1] < GUESSING / 2
