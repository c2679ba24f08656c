"""Chapter 01 as a whole: it runs, in time, and every number in its text is true."""

import re

import numpy as np
import pytest
from reference import namespace

from autograder.release.build import exercise_infos
from autograder.release.chapters import find_chapter
from autograder.release.source import read
from course_lib.classical import METHODS, stored
from course_lib.data import digits
from course_lib.metrics import mean_and_interval
from course_lib.scale import counting, flops, hardware, memory
from course_lib.scale.models import BERT_BASE, GPT2, GPT2_XL, GPT3, LLAMA_7B, MISTRAL_7B

CHAPTER = find_chapter("01")


def prose() -> str:
    return " ".join(" ".join(cell.text.split()) for cell in read(CHAPTER.source).cells if cell.kind == "markdown")


def text_of(execution) -> str:
    return "\n".join(
        output.text for cell in execution.node.cells if cell.cell_type == "code" for output in cell.outputs if output.output_type == "stream"
    )


def printed(execution, pattern: str) -> re.Match:
    """The first place where the notebook printed the pattern."""
    match = re.search(pattern, text_of(execution))
    assert match, f"{pattern!r} was not printed:\n{text_of(execution)}"
    return match


def scores(rows: int, method: str) -> np.ndarray:
    return np.array([outcome.accuracy for outcome in stored() if (outcome.rows, outcome.method) == (rows, method)])


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert len(infos) == 9
    assert {info.level for info in infos} == {1, 2, 3}
    assert "The exercises take about an hour and a half" in prose()
    assert 75 <= sum(info.minutes for info in infos) <= 100


def test_a_large_model_needs_no_library_beyond_those_of_the_course():
    code = "\n".join(cell.text for cell in read(CHAPTER.source).cells if cell.kind == "code")
    assert "transformers" not in code
    given = [
        cell.text for cell in read(CHAPTER.source).cells if cell.kind == "code" and not {"exercise", "figure", "train"} & cell.keys.keys()
    ]  # cells that run in grading import nothing that answers an exercise
    assert not any(module in "\n".join(given) for module in ("scale.counting", "scale.memory", "scale.flops", "course_lib.scratch"))


def test_the_data_are_as_described():
    split = digits(seed=0)
    assert (len(split.x_train), len(split.x_test)) == (1438, 359)
    assert "1,797 pictures of 8 × 8 pixels" in prose()
    assert "the 1,438 training pictures" in prose()


def test_the_counts_in_the_text_are_those_of_the_models():
    text = prose()
    assert counting.mlp_params([64, 64, 10]) == 4810
    assert "4,810 numbers read 64 pixels" in text
    assert f"{224 * 224 * 3:,} numbers" in text
    assert f"{counting.transformer_params(BERT_BASE):,}" in text
    assert f"{counting.transformer_params(MISTRAL_7B):,}" in text
    assert f"{counting.mlp_params([64, 10])} | yes" in text  # logistic regression
    untied = counting.transformer_params(GPT2) + GPT2.vocabulary * GPT2.width
    assert f"your GPT-2 has {untied:,} parameters" in text
    assert f"right but for {counting.transformer_parts(BERT_BASE)['head']:,}" in text
    assert f"{BERT_BASE.width} numbers of a word into {BERT_BASE.hidden:,} and back, in each of its {BERT_BASE.layers} layers" in text


def test_the_bonus_counts_mistral_with_the_program_that_it_shows():
    found = re.search(r"block = ([^<]*?\* 4096) (2 \* 32000 \* 4096 \+ 32 \* block \+ 4096)", prose())
    assert found
    names: dict = {}
    exec(f"block = {found[1]}\ntotal = {found[2]}", names)
    assert names["total"] == counting.transformer_params(MISTRAL_7B)


def test_the_program_of_the_bug_hunt_says_what_the_text_says_it_says():
    block = counting.block_params(768, 3072)
    found = counting.transformer_params(BERT_BASE) + 511 * 12 * block
    assert f"The program as found says {found:,}" in prose()
    assert 1e10 < found < 1e11
    assert 390 < found / counting.transformer_params(BERT_BASE) < 410
    assert "four hundred times less" in prose()


def test_the_comparisons_of_size_in_the_text_are_true():
    text, bert, gpt3, resnet = prose(), counting.transformer_params(BERT_BASE), counting.transformer_params(GPT3), counting.resnet50_params()
    assert "nearly a hundred times too small even for ten billions" in text
    assert 85 < 1e10 / bert < 100
    assert "ResNet-50 has a quarter of the parameters of BERT-base" in text
    assert 0.22 < resnet / bert < 0.27
    assert "five years and a factor of nearly 7,000" in text
    assert 6700 < gpt3 / resnet < 7000
    assert round(gpt3 / 1e9) == 175


def test_the_memory_of_gpt2_xl_is_as_described():
    state = sum(memory.state_bytes(counting.transformer_params(GPT2_XL), memory.ADAM_MIXED).values())
    one = memory.activation_bytes(GPT2_XL, 1, 1024)
    assert "take a third as much as weights, gradients and optimiser together" in prose()
    assert 0.33 <= one / state < 0.38
    assert "with sixteen texts they are most of the whole" in prose()
    assert 16 * one > 0.8 * (16 * one + state)
    assert "Recomputing makes them 26 times smaller" in prose()
    assert round(one / memory.activation_bytes(GPT2_XL, 1, 1024, recompute=True)) == 26
    assert 4 * one + state < 80e9 < 16 * one + state


def test_the_list_of_activations_adds_up():
    assert "11 $d$ for attention" in prose()
    assert "19 $d$ for the feed-forward part" in prose()
    assert "4 $d$ for the two norms" in prose()
    assert memory.block_activation_bytes(1, 1, 100, 0) == (11 + 19 + 4) * 100


def test_papers_and_the_arithmetic_agree():
    assert flops.training_flops(counting.transformer_params(GPT3), 300e9) == pytest.approx(3.14e23, rel=0.005)
    assert round(flops.utilisation(counting.transformer_params(LLAMA_7B), 1e12, hardware.A100, 82_432), 2) == 0.44


def lead(rows: int, rival: str):
    """By how many points the network beats the rival, with its interval."""
    return mean_and_interval(100 * (scores(rows, "network") - scores(rows, rival)))


def test_what_the_text_reads_from_the_stored_comparison_is_in_it():
    names, sizes = [method.name for method in METHODS], (100, 400, 1438)
    mean = {(rows, name): scores(rows, name).mean() for rows in sizes for name in names}
    assert all(len(scores(rows, name)) == 6 for rows in sizes for name in names)
    assert all(mean[100, name] < mean[400, name] < mean[1438, name] for name in names)  # all rise
    assert all(max(names, key=lambda name: mean[rows, name]) == "support vector machine" for rows in sizes)
    assert all(lead(100, name).low < 0 < lead(100, name).high for name in names[:-1])
    for rival in ("support vector machine", "nearest neighbours"):
        assert lead(400, rival).high < 0
        assert lead(1438, rival).high < 0
        assert round(lead(400, rival).mean) == -2
    assert round(lead(1438, "support vector machine").mean) == -1
    assert -1 < lead(1438, "nearest neighbours").mean < -0.5
    assert lead(1438, "logistic regression").low > 0
    assert lead(1438, "random forest").low < 0 < lead(1438, "random forest").high
    gains = {name: 100 * (mean[1438, name] - mean[400, name]) for name in names}
    assert max(gains, key=gains.__getitem__) == "network"
    assert (round(gains["network"], 1), round(gains["support vector machine"], 1)) == (2.4, 1.1)
    assert "(2.4 points from 400 to 1,438, the support vector machine 1.1)" in prose()


def test_the_network_was_by_far_the_dearest_to_tune():
    seconds = {method.name: sum(outcome.seconds for outcome in stored() if outcome.method == method.name) for method in METHODS}
    assert max(seconds, key=seconds.__getitem__) == "network"
    assert seconds["network"] > 10 * seconds["support vector machine"]


@pytest.mark.slow
def test_the_solution_notebook_runs_within_90_seconds_and_two_gigabytes(executed):
    execution = executed("01")
    assert execution.seconds <= 90
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    records = [
        output.data["application/vnd.large-models-check+json"]
        for cell in executed("01").node.cells
        for output in cell.get("outputs", [])
        if "application/vnd.large-models-check+json" in output.get("data", {})
    ]
    assert [record["exercise"] for record in records] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in records)


@pytest.mark.slow
def test_the_template_knows_most_zeros_and_few_others(executed):
    zeros, others = (float(number) for number in printed(executed("01"), r"for (\d+)% of the zeros.*\n.*and for ([\d.]+)% of the other").groups())
    assert zeros > 90
    assert others < 2


@pytest.mark.slow
def test_the_readers_forward_pass_is_scikit_learns(executed):
    assert printed(executed("01"), r"read differently: (\d+)")[1] == "0"
    assert float(printed(executed("01"), r"reads ([\d.]+)% of the held-out")[1]) > 95


@pytest.mark.slow
def test_three_hidden_neurons_can_and_more_find_it_more_surely(executed):
    found = {
        int(units): (float(best), int(perfect))
        for units, best, perfect in re.findall(
            r"(\d) hidden: best of 20 starts +([\d.]+)%, all points right in +(\d+) of 20", text_of(executed("01"))
        )
    }
    assert list(found) == [1, 2, 3, 4, 8]
    assert max(found[1][0], found[2][0]) < 100 == found[3][0] == found[4][0] == found[8][0]
    assert 0 < found[3][1] < 15 <= found[4][1]
    assert found[8][1] >= 17


@pytest.mark.slow
def test_the_readers_counts_are_torchs_and_those_of_the_library(executed):
    text = text_of(executed("01"))
    assert len(re.findall(r"\(torch\)  equal", text)) == 5
    assert "DIFFERENT" not in text
    assert f"GPT-2: {counting.transformer_params(GPT2):,} parameters" in text
    assert f"BERT-base: {counting.transformer_params(BERT_BASE):,}" in text
    for name, count in (
        ("ResNet-50", counting.resnet50_params()),
        ("GPT-2 XL", counting.transformer_params(GPT2_XL)),
        ("Llama 7B", counting.transformer_params(LLAMA_7B)),
        ("GPT-3", counting.transformer_params(GPT3)),
    ):
        assert re.search(rf"{name} \(\d+\) +{count:,}\n", text)


@pytest.mark.slow
def test_6nd_misses_attention_and_with_it_is_right_to_half_a_percent(executed):
    rows = re.findall(r"6N alone is off by ([-+]\d+)%, with 12·L·d·T added by ([-+][\d.]+)%", text_of(executed("01")))
    alone, corrected = ([float(row[column]) for row in rows] for column in (0, 1))
    assert len(rows) == 3
    assert alone == sorted(alone, reverse=True)
    assert alone[0] > -5
    assert alone[-1] < -40
    assert all(abs(value) <= 0.5 for value in corrected)


@pytest.mark.slow
def test_the_live_comparison_repeats_the_stored_one_to_a_few_pictures(executed):
    for outcome in stored():
        if (outcome.rows, outcome.seed) == (100, 0) and outcome.method != "random forest":
            shown = float(printed(executed("01"), rf"{outcome.method} +([\d.]+)% .* of 359 held-out pictures")[1])
            assert shown == pytest.approx(100 * outcome.accuracy, abs=1.5), outcome.method  # other processors round otherwise


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {
        record["prediction"]: record["truth"]
        for cell in executed("01").node.cells
        for output in cell.get("outputs", [])
        if (record := output.get("data", {}).get("application/vnd.large-models-prediction+json"))
    }
    assert {name: float(truth) for name, truth in truths.items() if name != "large_models.network_or_neighbours"} == {
        "large_models.disc_units": 3,
        "large_models.picture_size": 1,
        "large_models.cards_for_7b": 2,
    }
    assert -2 < float(truths["large_models.network_or_neighbours"].replace("−", "-")) < 0


def test_a_student_who_mends_nothing_finds_a_count_that_no_bert_has():
    names = namespace("large_models", solved=False)
    assert names["mend_bert_params"](30_522, 512, 2, 768, 3072, 12) > 1e10
