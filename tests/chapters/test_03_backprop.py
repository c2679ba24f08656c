"""Chapter 03 as a whole: it runs, in time, and every number in its text is true."""

import re

import numpy as np
import pytest
from reference import namespace, prose

from autograder.release.build import exercise_infos
from autograder.release.chapters import find_chapter
from course_lib.data import digits

CHAPTER = find_chapter("03")


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert len(infos) >= 9
    assert {info.level for info in infos} == {1, 2, 3}
    assert "The exercises take about two hours" in prose("03")
    assert 105 <= sum(info.minutes for info in infos) <= 135


def test_the_counts_in_the_text_are_those_of_the_network_and_the_data():
    params = namespace("backprop", solved=True)["initial_params"](64, 32, 10, seed=1)
    count = sum(value.size for value in params.values())
    split = digits(seed=0)
    text = prose("03")
    assert f"{count:,} adjustable numbers" in text
    assert f"{2 * count:,} passes over the data" in text
    assert f"{len(split.x_train) + len(split.x_test):,} small pictures" in text
    assert f"learn from {len(split.x_train):,} of them; the other {len(split.x_test)} it never sees" in text


def test_an_even_network_costs_the_2_303_of_the_symptoms_table():
    cross_entropy = namespace("backprop", solved=True)["cross_entropy"]
    assert f"{cross_entropy(np.zeros((4, 10)), np.arange(4)):.3f}" == "2.303"
    assert "loss falls to 2.303" in prose("03")


@pytest.mark.slow
def test_the_solution_notebook_runs_within_a_minute_and_two_gigabytes(executed):
    execution = executed("03")
    assert execution.seconds <= 60
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_the_network_reads_97_percent_of_held_out_digits_on_average_over_five_seeds(executed):
    scores = [float(word) for word in re.findall(r"[\d.]+(?=%)", executed("03").printed(r"held-out accuracy by seed:.*")[0])]
    assert len(scores) == 5
    assert np.mean(scores) >= 97
    assert executed("03").printed(r"mean ([\d.]+)%, lowest ([\d.]+)%, highest ([\d.]+)%")


@pytest.mark.slow
def test_the_three_is_misread_at_first_and_read_in_the_end(executed):
    assert executed("03").printed(r"our 3 is now read as a (\d)")[1] == "3"
    alts = [
        output.data["text/plain"]
        for cell in executed("03").node.cells
        for output in cell.get("outputs", [])
        if "text/plain" in output.get("data", {})
    ]
    assert any("untrained network reads as an 8" in alt for alt in alts)


@pytest.mark.slow
def test_the_entangled_step_is_harmless_at_a_small_rate_and_ruinous_at_that_of_the_chapter(executed):
    found = {rate: float(executed("03").printed(rf"lr {rate}, as found: .*?([\d.]+)% of held-out")[1]) for rate in ("0.1", "0.5")}
    mended = {rate: float(executed("03").printed(rf"lr {rate}, mended  : .*?([\d.]+)% of held-out")[1]) for rate in ("0.1", "0.5")}
    assert abs(found["0.1"] - mended["0.1"]) < 2
    assert mended["0.5"] > 93
    assert found["0.5"] < 20


@pytest.mark.slow
def test_hand_written_gradients_equal_those_of_torch_to_1e_10(executed):
    assert float(executed("03").printed(r"largest difference of any gradient: (\S+)")[1]) <= 1e-10


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    records = [
        output.data["application/vnd.large-models-check+json"]
        for cell in executed("03").node.cells
        for output in cell.get("outputs", [])
        if "application/vnd.large-models-check+json" in output.get("data", {})
    ]
    assert [record["exercise"] for record in records] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in records)


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {
        record["prediction"]: record["truth"]
        for cell in executed("03").node.cells
        for output in cell.get("outputs", [])
        if (record := output.get("data", {}).get("application/vnd.large-models-prediction+json"))
    }
    assert truths["backprop.bias_bug"] == "lower"
    assert float(truths["backprop.sigmoid_chain"]) == pytest.approx(0.25**10, rel=1e-3)
    assert float(truths["backprop.untrained_loss"]) == pytest.approx(np.log(10), abs=1e-3)
    assert 1e-6 <= float(truths["backprop.best_step"]) <= 1e-4
