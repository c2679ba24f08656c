"""Chapter 04 as a whole: it runs, in time, and every number in its text is true."""

import itertools
import re

import numpy as np
import pytest
from reference import namespace, prose

from autograder.release.build import exercise_infos
from autograder.release.chapters import find_chapter
from autograder.release.source import read
from course_lib.scratch.landscapes import ravine
from course_lib.scratch.mlp import MLP, MLPConfig
from course_lib.scratch.optim import SGD, Adam
from course_lib.scratch.schedules import warmup_cosine

CHAPTER = find_chapter("04")


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert len(infos) == 9
    assert {info.level for info in infos} == {1, 2, 3}
    assert "exercises take about an hour and a half" in prose("04")
    assert 75 <= sum(info.minutes for info in infos) <= 105


def test_the_counts_in_the_text_are_those_of_the_network():
    assert f"Nobody sees {sum(param.size for param in MLP(MLPConfig((64, 64, 10))).params.values()):,} dimensions" in prose("04")
    assert "64 hidden units instead of 32" in prose("04")
    third = " ".join(cell.text for cell in read(find_chapter("03").source).cells)
    assert "(N, 32)" in third and f"{sum(param.size for param in MLP(MLPConfig((64, 32, 10))).params.values()):,}" in third


def test_the_examples_in_the_docstrings_of_the_exercises_are_true():
    names = namespace("optimizers", solved=True)
    scope = {**names, "np": np}
    for cell in read(CHAPTER.source).cells:
        if "exercise" not in cell.keys:
            continue
        lines = [line.strip() for line in cell.text.splitlines()]
        begins = [number for number, line in enumerate(lines) if line.startswith(">>> ")]
        assert begins, f"{cell.keys['exercise']} has no worked example"
        for number in begins:
            code = lines[number][4:].partition("  # ")[0]
            wanted = " ".join(itertools.takewhile(lambda line: line and not line.startswith((">>>", '"""')), lines[number + 1 :]))
            if not wanted:
                exec(code, scope)
                continue
            found = repr(eval(code, scope))
            numbers = [re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text) for text in (found, wanted)]
            assert [float(part) for part in numbers[0]] == pytest.approx([float(part) for part in numbers[1]], abs=1e-9), code


def test_the_squared_slope_at_the_start_of_the_ravine_is_the_916_of_the_text():
    assert round(float(np.sum(ravine(np.array([-4.0, 1.2]))[1] ** 2))) == 916
    assert "$G$ is 916" in prose("04")


def test_a_mean_with_memory_0_999_still_holds_37_percent_of_its_start_after_a_thousand_steps():
    assert f"{0.999**1000:.2f}" == "0.37"
    assert r"0.999^{1000} \approx 0.37" in prose("04")


def test_a_mean_with_memory_0_9_holds_4_percent_of_its_start_after_thirty_steps():
    assert f"{0.9**30:.2f}" == "0.04"
    assert r"0.9^{30} \approx 0.04" in prose("04")


def distance_left_by_averaging(lr: float, steps: int) -> float:
    """On the ravine, with β = 0.9. Averaging is adding with 1 - β times the rate."""
    x = np.array([-4.0, 1.2])
    optimizer = SGD({"x": x}, lr=0.1 * lr, momentum=0.9)
    for _ in range(steps):
        optimizer.step({"x": ravine(x)[1]})
    return float(np.linalg.norm(x))


def test_averaging_bears_19_times_the_rate_of_gradient_descent_and_not_more():
    limit = 2 * 1.9 / (0.1 * 25)
    assert limit / (2 / 25) == pytest.approx(19)
    assert distance_left_by_averaging(0.99 * limit, 1000) < 1e-3
    assert distance_left_by_averaging(1.01 * limit, 1000) > 1e3
    assert "19 times as high" in prose("04")


def test_under_a_steady_slope_averaging_ends_at_the_pace_of_gradient_descent():
    x = np.zeros(1)
    optimizer = SGD({"x": x}, lr=0.1 * 0.02, momentum=0.9)
    for _ in range(300):
        before = x.copy()
        optimizer.step({"x": np.ones(1)})
    assert float((before - x)[0]) == pytest.approx(0.02, rel=1e-6)


def test_one_large_slope_after_many_tiny_ones_moves_adam_about_3_16_times_lr():
    x = np.zeros(1)
    optimizer = Adam({"x": x}, lr=0.01)
    for slope in [1e-6] * 10_000 + [1.0]:
        before = x.copy()
        optimizer.step({"x": np.array([slope])})
    assert f"{0.1 / np.sqrt(0.001):.2f}" == "3.16"
    assert float((before - x)[0]) / 0.01 == pytest.approx(3.16, abs=0.01)
    assert r"\approx 3.16$ times `lr`" in prose("04")


def test_a_weight_without_a_slope_of_its_own_loses_lr_a_step_to_added_decay_whatever_the_decay():
    for decay in (1e-4, 1.0):
        x = np.array([5.0, -3.0])
        optimizer = Adam({"x": x}, lr=0.01)
        for _ in range(20):
            optimizer.step({"x": decay * x})
        np.testing.assert_allclose(x, [4.8, -2.8], atol=1e-3)


def test_the_rates_of_a_cosine_add_up_to_half_of_those_of_a_constant():
    assert sum(warmup_cosine(step, total=300, warmup=0, peak=1.0) for step in range(300)) / 300 == pytest.approx(0.5, abs=0.01)
    assert "add up to half the way" in prose("04")


def fate(squared_slope: float) -> np.ndarray:
    """The last hundred of 5,000 values of the recursion that is its own coefficient, under a steady slope."""
    b, late = 0.999, []
    with np.errstate(all="ignore"):
        for _ in range(5000):
            b = np.float64(b * b + (1 - b) * squared_slope)
            late.append(b)
    return np.array(late[-100:])


@pytest.mark.parametrize(("squared_slope", "rest"), [(0.1, 0.1), (0.5, 0.5), (0.9, 0.9), (1.2, 1.0), (2.0, 1.0), (2.8, 1.0)])
def test_the_self_referring_recursion_rests_at_g_below_one_and_at_one_from_one_to_three(squared_slope, rest):
    np.testing.assert_allclose(fate(squared_slope), rest, atol=1e-6)


def test_the_self_referring_recursion_swings_beyond_three_and_escapes_beyond_four():
    assert len(set(fate(3.2).round(6))) == 2
    assert len(set(fate(3.9).round(6))) > 50
    assert not np.isfinite(fate(4.1)).any()


@pytest.mark.slow
def test_the_solution_notebook_runs_within_90_seconds_and_two_gigabytes_and_in_silence(executed):
    execution = executed("04")
    assert execution.seconds <= 90
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    records = [
        output.data["application/vnd.large-models-check+json"]
        for cell in executed("04").node.cells
        for output in cell.get("outputs", [])
        if "application/vnd.large-models-check+json" in output.get("data", {})
    ]
    assert [record["exercise"] for record in records] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in records)


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {
        record["prediction"]: record["truth"]
        for cell in executed("04").node.cells
        for output in cell.get("outputs", [])
        if (record := output.get("data", {}).get("application/vnd.large-models-prediction+json"))
    }
    assert set(truths) == {"optimizers.ravine_steps", "optimizers.batch_noise", "optimizers.normalised_step", "optimizers.adam_scale"}
    assert int(truths["optimizers.ravine_steps"]) == 3454
    assert float(truths["optimizers.batch_noise"]) == pytest.approx(4, abs=0.4)
    assert float(truths["optimizers.normalised_step"]) == pytest.approx(0.1, rel=1e-6)
    assert truths["optimizers.adam_scale"] == "same"


@pytest.mark.slow
def test_gradient_descent_contracts_as_the_theory_says(executed):
    rows = re.findall(r"^ *(\d+) +(0\.\d{6}) +(0\.\d{6})$", executed("04").said, flags=re.MULTILINE)
    assert [int(kappa) for kappa, _, _ in rows] == [2, 10, 100, 1000]
    for kappa, measured, theory in rows:
        assert float(theory) == pytest.approx((int(kappa) - 1) / (int(kappa) + 1), abs=1e-6)
        assert float(measured) == pytest.approx(float(theory), abs=2e-6)


@pytest.mark.slow
def test_ten_times_the_condition_number_costs_ten_times_the_steps_without_momentum_and_three_to_four_with_it(executed):
    for name, low, high in (("gradient descent", 9.5, 10.5), ("momentum", 3.0, 4.0)):
        waits = [int(wait) for wait in executed("04").printed(name + r" +\{'κ = 10': (\d+), 'κ = 100': (\d+), 'κ = 1000': (\d+)\}").groups()]
        for before, after in itertools.pairwise(waits):
            assert low <= after / before <= high


@pytest.mark.slow
def test_the_rates_around_the_limit_of_0_08_do_what_the_theory_says(executed):
    y = {lr: float(executed("04").printed(rf"lr {lr}: after 100 steps x = \S+, y = (\S+)").groups()[0]) for lr in ("0.079", "0.081")}
    assert abs(y["0.079"]) < 1 < abs(y["0.081"])


@pytest.mark.slow
def test_the_steepest_direction_is_about_a_thousand_times_as_curved_as_an_average_one(executed):
    steepest, average = map(float, executed("04").printed(r"steepest curvature (\S+), mean of 50 random directions (\S+)").groups())
    assert 500 <= steepest / average <= 3000


@pytest.mark.slow
def test_the_two_forms_of_momentum_walk_alike(executed):
    assert float(executed("04").printed(r"largest distance between the two walks: (\S+)").groups()[0]) < 1e-12


@pytest.mark.slow
def test_normalised_momentum_hops_about_until_its_rate_shrinks(executed):
    assert float(executed("04").printed(r"nearest to the lowest point in the last 100 steps: (\S+)").groups()[0]) > 0.01
    assert "[nan nan]" in executed("04").printed(r"one step from the level point \(0, 0\): (.*)").groups()[0]
    assert float(executed("04").printed(r"it ends (\S+) from the lowest point").groups()[0]) < 0.001


@pytest.mark.slow
def test_the_formula_at_its_word_breaks_down_and_the_kinder_reading_walks(executed):
    assert int(executed("04").printed(r"at its word.*not a number from step (\d+)").groups()[0]) < 10
    assert "not a number" not in executed("04").printed(r"kinder reading(.*)").groups()[0]
    first, escaped, below, _rest, others = (
        executed("04")
        .printed(
            r"from G = (\S+) on, b runs away to infinity; of these (\d+) values of G, (\d+) took it below 0 on the way, of the (\d+) others (\d+)",
        )
        .groups()
    )
    assert float(first) == pytest.approx(4, abs=0.02)
    assert escaped == below and others == "0"


@pytest.mark.slow
def test_the_range_test_points_to_a_rate_near_the_best_of_the_race(executed):
    lowest = float(executed("04").printed(r"smoothed loss was lowest at lr = (\S+)").groups()[0])
    best = float(executed("04").printed(r"gradient descent +best rate +(\S+):").groups()[0])
    assert 0.5 < best / lowest <= 10  # above what the rule of thumb advises, and in its region
    assert (f"{lowest / 10:.2f}", f"{lowest / 2:.2f}") == ("0.06", "0.31")
    assert "here from 0.06 to 0.31" in prose("04") and "it advised 0.06 to 0.31" in prose("04")
    steps, ended = executed("04").printed(r"the run ended after (\d+) steps, at lr = (\S+);").groups()
    assert lowest < float(ended) < 10
    assert f"It took {steps} steps where the race took 27 runs of 150" in prose("04")
    lows = [float(bound) for bound in executed("04").printed(r"with eight draws of the batches: lowest at lr = (\S+) to (\S+)").groups()]
    assert lows[0] < lowest < lows[1]
    assert 2.5 < lows[1] / lows[0] < 3


@pytest.mark.slow
def test_the_race_of_gradient_descent_is_nearly_won_at_the_upper_end_of_the_advice_and_lost_at_the_lower(executed):
    row = executed("04").printed(r"gradient descent, rate and loss: (.*)").groups()[0]
    losses = {rate: float(loss) for rate, loss in re.findall(r"([\d.]+): ([\d.]+)", row)}
    assert len(losses) == 9 and min(losses, key=losses.__getitem__) == "1"
    assert losses["0.316"] < 1.3 * losses["1"]
    assert losses["0.0316"] > losses["0.1"] > 2 * losses["1"]


def mean_loss(execution, setting: str) -> float:
    return float(execution.printed(re.escape(setting) + r" *: mean (\S+),").groups()[0])


@pytest.mark.slow
def test_at_0_1_a_falling_rate_brings_the_runs_together_and_its_best_less_far(executed):
    bounds = [
        [float(bound) for bound in executed("04").printed(rf"lr 0.1, {schedule} *: mean \S+, from (\S+) to (\S+)").groups()]
        for schedule in ("constant", "cosine")
    ]
    assert bounds[1][0] > 1.3 * bounds[0][0]
    assert bounds[1][1] - bounds[1][0] < 0.03 < 0.08 < bounds[0][1] - bounds[0][0]


@pytest.mark.slow
def test_averaging_at_the_same_rate_gets_a_few_times_nearer_in_the_ravine(executed):
    plain, averaging = map(
        float,
        executed("04").printed(r"distance from the lowest point after 300 steps at lr = 0.02: gradient descent (\S+), averaging (\S+)").groups(),
    )
    assert 3 < plain / averaging < 7


@pytest.mark.slow
def test_the_rows_of_a_batch_cost_less_than_in_proportion_of_time(executed):
    few, many = map(int, executed("04").printed(r"time for one slope: \{16: '(\d+) µs', 256: '(\d+) µs'\}").groups())
    assert 1 < many / few < 16


@pytest.mark.slow
def test_adagrads_steps_shrink_like_one_by_the_root_of_t_under_a_steady_slope(executed):
    rows = re.findall(r"step +(\d+) is (\S+) long; lr/√t is (\S+)", executed("04").said)
    assert [int(step) for step, _, _ in rows] == [1, 10, 100, 400]
    assert all(length == theory for _, length, theory in rows)


@pytest.mark.slow
def test_added_decay_takes_more_than_half_of_the_weights_and_adamw_about_two_per_cent(executed):
    found = {
        name: [float(part) for part in executed("04").printed(rf"decay {name} *: all weights together +(\S+) long, loss (\S+)").groups()]
        for name in ("without", "added to the slope", "AdamW")
    }
    assert found["added to the slope"][0] < 0.5 * found["without"][0]
    assert found["AdamW"][0] / found["without"][0] == pytest.approx(0.98, abs=0.005)
    assert found["added to the slope"][1] > 4 * found["without"][1]
    assert found["AdamW"][1] < 1.2 * found["without"][1]


@pytest.mark.slow
def test_a_falling_rate_helps_where_the_rate_is_large_and_clipping_where_it_is_too_large(executed):
    found = executed("04")
    assert mean_loss(found, "lr 0.3, constant") > 3 * mean_loss(found, "lr 0.3, cosine")
    assert mean_loss(found, "lr 0.1, constant") == pytest.approx(mean_loss(found, "lr 0.1, cosine"), rel=0.2)
    assert mean_loss(found, "lr 0.5, warm_cosine") > 2 * mean_loss(found, "lr 0.5, warm_cosine, clipped to 1")
    for lr in ("0.1", "0.3"):
        assert mean_loss(found, f"lr {lr}, warm_cosine, clipped to 1") == pytest.approx(mean_loss(found, f"lr {lr}, warm_cosine"), abs=0.02)
    for lr in ("0.1", "0.3", "0.5"):  # no clear difference of warm-up, in either direction
        assert mean_loss(found, f"lr {lr}, cosine") == pytest.approx(mean_loss(found, f"lr {lr}, warm_cosine"), rel=0.4)


@pytest.mark.slow
def test_in_the_race_every_good_rule_comes_close_with_a_rate_of_its_own_and_the_formula_at_its_word_does_not(executed):
    names = ("gradient descent", "momentum", "Nesterov", "normalised", "AdaGrad", "RMSProp", "self-adapting", "Adam")
    rows = {name: executed("04").printed(rf"\n{re.escape(name)} +best rate +(\S+): median loss ([\d.]+|inf),").groups() for name in names}
    losses = {name: float(loss) for name, (_, loss) in rows.items()}
    good = [loss for name, loss in losses.items() if name != "self-adapting"]
    assert max(good) < 0.25
    assert "broke down in" in executed("04").said or losses["self-adapting"] > 2 * max(good)
    assert float(executed("04").printed(r"Adam at its usual 0.001: loss (\S+) after").groups()[0]) > 3 * losses["Adam"]
    assert len({rate for rate, _ in rows.values()}) >= 3


@pytest.mark.slow
def test_every_rule_walks_where_torch_walks_to_a_millionth_of_a_step(executed):
    rows = re.findall(r"(\w+) +differs from torch by at most (\S+) of a step", executed("04").said)
    assert [name for name, _ in rows] == ["momentum", "Nesterov", "AdaGrad", "RMSProp", "Adam", "AdamW"]
    assert all(float(difference) <= 1e-6 for _, difference in rows)
    assert executed("04").printed(r"Adam's state: (\d+) times the memory").groups() == ("2",)


@pytest.mark.parametrize(("nesterov", "limit"), [(False, 2 * 1.9 / 25), (True, 2 * 1.9 / (2.8 * 25))])
def test_momentum_and_nesterov_leave_the_ravine_at_the_rates_that_the_text_says(nesterov, limit):
    for lr, stays in ((0.98 * limit, True), (1.02 * limit, False)):
        place = {"x": np.array([1.0])}
        rule = SGD(place, lr=lr, momentum=0.9, nesterov=nesterov)
        with np.errstate(all="ignore"):
            for _ in range(2000):
                rule.step({"x": 25 * place["x"]})
        assert (abs(place["x"][0]) < 1) == stays
    assert limit == pytest.approx(0.054 if nesterov else 0.152, abs=5e-4)
