import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.scratch.schedules import geometric_rates, step_decay, warmup_cosine, warmup_inverse_sqrt

SETTINGS = st.tuples(st.integers(0, 20), st.integers(1, 200), st.floats(1e-6, 10), st.floats(0, 1))


@given(SETTINGS, st.integers(0, 400))
def test_warmup_cosine_stays_between_zero_and_peak_and_falls_after_the_warm_up(setting, step):
    warmup, more, peak, share = setting
    rate = [warmup_cosine(s, total=warmup + more, warmup=warmup, peak=peak, floor=share * peak) for s in (step, step + 1)]
    assert 0 <= rate[0] <= peak * (1 + 1e-12)
    assert rate[0] > 0 or step >= warmup + more
    assert rate[1] <= rate[0] * (1 + 1e-12) if step >= warmup else rate[1] > rate[0]


def test_warmup_cosine_has_its_peak_at_the_end_of_the_warm_up_and_its_floor_at_the_end():
    assert warmup_cosine(10, total=100, warmup=10, peak=0.5, floor=0.1) == 0.5
    assert warmup_cosine(55, total=100, warmup=10, peak=0.5, floor=0.1) == pytest.approx(0.3)
    assert warmup_cosine(100, total=100, warmup=10, peak=0.5, floor=0.1) == pytest.approx(0.1)
    assert warmup_cosine(5000, total=100, warmup=10, peak=0.5, floor=0.1) == pytest.approx(0.1)


def test_without_warm_up_it_is_torchs_cosine_annealing():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30, eta_min=0.05)
    for step in range(31):
        assert warmup_cosine(step, total=30, warmup=0, peak=0.4, floor=0.05) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_it_is_hugging_faces_schedule_but_for_a_first_step_that_is_not_zero():
    transformers = pytest.importorskip("transformers")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=8, num_training_steps=50)
    theirs = []
    for _ in range(50):
        theirs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    ours = [warmup_cosine(step, total=50, warmup=8, peak=0.4) for step in range(50)]
    assert theirs[0] == 0 < ours[0]
    np.testing.assert_allclose(ours[8:], theirs[8:], atol=1e-12)


def test_the_transformers_rate_is_that_of_its_paper():
    width, warmup = 512, 4000
    for step in (1, 17, 3999, 4000, 4001, 100_000):
        paper = width**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert warmup_inverse_sqrt(step - 1, warmup=warmup, peak=(width * warmup) ** -0.5) == pytest.approx(paper)


def test_step_decay_is_torchs_step_lr():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.3)
    for step in range(40):
        assert step_decay(step, every=7, factor=0.3, peak=0.4) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_geometric_rates_grow_by_one_factor():
    rates = geometric_rates(1e-4, 10, 26)
    np.testing.assert_allclose(rates[1:] / rates[:-1], 10 ** (5 / 25))
    assert (rates[0], rates[-1]) == pytest.approx((1e-4, 10))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: warmup_cosine(0, total=5, warmup=5, peak=1), "0 <= warmup < total, was given warmup 5 and total 5"),
        (lambda: warmup_cosine(-1, total=5, warmup=0, peak=1), "step must be at least 0, was given -1"),
        (lambda: warmup_inverse_sqrt(0, warmup=0, peak=1), "warmup must be at least 1, was given 0"),
        (lambda: step_decay(0, every=0, factor=0.1, peak=1), "every must be at least 1, was given 0"),
        (lambda: geometric_rates(1, 0.1, 5), "0 < lowest < highest"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_rate_is_a_plain_finite_number():
    assert all(math.isfinite(warmup_cosine(step, total=3, warmup=2, peak=0.1)) for step in range(10))
