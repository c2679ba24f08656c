"""Chapter 02 as a whole: it runs, in time, and every number in its text is true."""

import ast
import math
import re

import numpy as np
import pytest
from reference import namespace, prose

from autograder.checking.exercise import load_chapter
from autograder.release.build import exercise_infos, notebook
from autograder.release.chapters import find_chapter
from autograder.release.source import read
from course_lib.data import messy_patients, patients
from course_lib.data.messy import LIMITS
from course_lib.scores import roc_auc

CHAPTER = find_chapter("02")


def numbers(execution, pattern: str) -> list[float]:
    """The groups of the first place where the notebook printed the pattern, as numbers."""
    return [float(word) for word in execution.printed(pattern).groups()]


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert len(infos) == 10
    assert {info.level for info in infos} == {1, 2, 3}
    assert "The exercises take about an hour and three quarters" in prose("02")
    assert 95 <= sum(info.minutes for info in infos) <= 115


def test_the_exercises_stand_in_the_order_of_the_text():
    assert [item.id for item in load_chapter("data")] == [info.id for info in exercise_infos(CHAPTER)]


def test_the_facts_about_the_table_are_those_of_the_table():
    columns, progression = patients()
    text = prose("02")
    assert f"{len(progression)} patients with diabetes, eight measurements" in text
    assert len(columns) == 8
    assert "Triglycerides run from 26 to 449" in text
    assert (columns["triglycerides"].min(), columns["triglycerides"].max()) == (26, 449)
    assert f"{np.mean(progression > 200):.0%} of our patients have a fast course" in text
    assert "is above 200" in text and "about a quarter of the patients pass" in text
    assert f"Coins call {np.mean(progression > 200):.0%} of everybody" in text


def test_the_swapped_body_mass_index_of_the_text_is_one_of_the_table():
    table = messy_patients(0)
    columns, _ = patients()
    swapped = [row for row, kind in enumerate(table.kinds["bmi"]) if kind == "swapped"]
    assert "a body mass index of 24.1 became 42.1" in " ".join(prose("02").replace("# ", "").split())
    assert any((columns["bmi"][table.source[row]], float(str(table.columns["bmi"][row]).replace(",", "."))) == (24.1, 42.1) for row in swapped)


def test_glucose_in_the_other_unit_is_what_the_text_says():
    assert LIMITS["glucose"].factor == 18.016
    assert "A glucose of 4.22 is impossible in mg/dl. Times 18.016 it is 76.0" in prose("02")
    assert f"{4.22 * 18.016:.1f}" == "76.0"


def test_nearly_all_impossible_glucose_cells_are_those_of_the_clinic_with_the_other_unit():
    kinds = messy_patients(0).kinds["glucose"]
    assert "Of 198 impossible cells the rule finds one, the 999; take that away, and it finds none" in prose("02")
    assert kinds.count("unit") > 0.95 * 198


def test_no_code_cell_is_longer_than_a_screen():
    cells = [cell for cell in notebook(CHAPTER, "solution").cells if cell.cell_type == "code"]
    assert max(len(cell.source.splitlines()) for cell in cells) <= 25


def test_no_line_of_code_gives_the_outcome_of_a_prediction_away():
    reveals = [cell for cell in read(CHAPTER.source).cells if cell.reveals]
    assert len(reveals) == 6
    assert [cell.reveals for cell in reveals if "because=" in cell.text] == ["data.noise_auc"]  # its number is computed


def test_the_sharpened_probabilities_are_those_of_the_text():
    assert [f"{p**3 / (p**3 + (1 - p) ** 3):.2f}" for p in (0.7, 0.3)] == ["0.93", "0.07"]
    assert "sends 0.7 to 0.93 and 0.3 to 0.07" in prose("02")


def test_every_worked_example_of_a_docstring_is_true():
    names = namespace("data", solved=True)
    with np.printoptions(legacy="1.25"):
        for item in load_chapter("data"):
            doc = ast.get_docstring(ast.parse(source_of(item.name)).body[0])  # type: ignore[arg-type]
            for call, wanted in examples(doc or ""):
                space = dict(names)
                *before, last = call.splitlines()
                exec("\n".join(before), space)
                assert same_text(repr(eval(last.split("  #")[0], space)), wanted), call


def source_of(name: str) -> str:
    return next(cell.text for cell in read(CHAPTER.source).cells if cell.keys.get("exercise") == name)


def examples(doc: str) -> list[tuple[str, str]]:
    """(calls in lines, what the last of them shows), of a docstring."""
    found, calls, shown = [], [], []
    for line in doc.splitlines():
        if line.startswith(">>> "):
            if shown:
                found.append(("\n".join(calls), " ".join(shown)))
                calls, shown = [], []
            calls.append(line[4:])
        elif calls and line.strip():
            shown.append(line)
    return [*found, ("\n".join(calls), " ".join(shown))] if calls else found


def same_text(one: str, other: str) -> bool:
    def bare(text: str) -> str:
        return re.sub(r"\s", "", re.sub(r"np\.float64\(([^)]*)\)", r"\1", text))

    return bare(one) == bare(other)


def test_the_examples_are_found_at_all():
    assert examples("x\n\n>>> a = 1\n>>> a\n1\n>>> b\n2") == [("a = 1\na", "1"), ("b", "2")]
    assert sum(bool(examples(ast.get_docstring(ast.parse(source_of(item.name)).body[0]) or "")) for item in load_chapter("data")) >= 9  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_solution_notebook_runs_within_a_minute_and_a_half_and_two_gigabytes(executed):
    execution = executed("02")
    assert execution.seconds <= 90
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_cleaning_finds_all_patients_and_what_is_wrong_is_little_and_looks_right(executed):
    execution = executed("02")
    assert numbers(execution, r"different rows, compared when clean: (\d+)") == [442]
    assert 442 < numbers(execution, r"different rows, compared as sent:\s+(\d+)")[0] < numbers(execution, r"rows as sent:\s+(\d+)")[0]
    cells, right, unknown, wrong = numbers(execution, r"cells: (\d+);  right: (\d+);  unknown: (\d+);  wrong: (\d+)")
    assert right + unknown + wrong == cells == 442 * 8
    assert 0 < wrong < 0.01 * cells


@pytest.mark.slow
def test_three_standard_deviations_find_one_code_and_nine_true_triglycerides(executed):
    assert numbers(executed("02"), r"impossible as they stand: (\d+)") == [198]
    assert numbers(executed("02"), r"of these, beyond three standard deviations: (\d+)") == [1]
    assert numbers(executed("02"), r"without the 999, beyond three standard deviations: (\d+)") == [0]
    assert executed("02").printed(r"some glucose values: \[.* 4\.22 ")
    assert executed("02").printed("in the clean table, beyond three standard deviations: .*'triglycerides': 9")


@pytest.mark.slow
def test_dropping_rows_loses_a_third_of_the_people_and_more_of_the_ill_ones(executed):
    assert 30 <= 100 - numbers(executed("02"), r"rows without a gap in our table: \d+ of \d+ \((\d+)%\)")[0] <= 40
    ill, well = numbers(executed("02"), r"rows with a gap, among fast courses: (\d+)%, among slow ones: (\d+)%")
    assert ill > well + 10


@pytest.mark.slow
def test_the_logarithm_helps_the_triglycerides_most_and_harms_age(executed):
    found = {name: numbers(executed("02"), rf"{name}\s+skewness ([-+\d.]+), of log\(1 \+ x\) ([-+\d.]+)") for name in LIMITS}
    gains = {name: abs(before) - abs(after) for name, (before, after) in found.items()}
    assert max(gains, key=gains.get) == "triglycerides"  # type: ignore[arg-type]
    assert min(gains, key=gains.get) == "age"  # type: ignore[arg-type]
    assert gains["age"] < 0


@pytest.mark.slow
def test_the_model_beats_both_baselines_on_the_validation_rows(executed):
    model, slow, coin = (
        numbers(executed("02"), rf"{name}\s+accuracy ([\d.]+)%")[0] for name in ("from one half on:", "always 'slow':", "the right share:")
    )
    assert model > slow > coin
    assert numbers(executed("02"), r"always slow  of 'fast': precision (\d+)%, recall (\d+)%") == [0, 0]
    assert numbers(executed("02"), r"1,000 coins  of 'fast': precision (\d+)%, recall (\d+)%") == [27, 27]
    assert "they find 27% of the fast courses, and of those whom they call, 27% are fast" in prose("02")


@pytest.mark.slow
def test_the_model_is_within_the_luck_of_a_calibrated_one_and_the_sharpened_one_far_outside_in_every_deal(executed):
    as_it_is = numbers(executed("02"), r"calibration error as it is:\s+([\d.]+) to ([\d.]+) over ten deals")
    sharpened = numbers(executed("02"), r"calibration error sharpened:\s+([\d.]+) to ([\d.]+) over ten deals")
    mean, high = numbers(executed("02"), r"of a perfect forecaster on so few rows: ([\d.]+) \(95% below ([\d.]+)\)")
    assert mean > 0.02
    assert as_it_is[1] <= high
    assert sharpened[0] > 1.5 * high
    points = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) → ([\d.]+)", executed("02").printed(r"sharpened .*→.*")[0])]
    assert points[0][1] > points[0][0]
    assert points[-1][1] < points[-1][0]


@pytest.mark.slow
def test_the_picture_of_calibration_is_told_in_words_by_its_own_numbers(executed):
    [line] = re.findall(r"as it is\s+\d.*→.*", executed("02").printed(r"as it is\s+\d.*→.*")[0])
    pages = [output.data.get("text/plain", "") for cell in executed("02").node.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("in five bins" in page and line.strip() in page for page in pages)


def coverage(samples: int) -> float:
    """Of percentile intervals for an AUC of 0.760, 28 positive and 60 negative rows, 200 draws: the share that holds it."""
    rng, known, held = np.random.default_rng(1), 0.5 * math.erfc(-1 / 2), 0
    labels = np.repeat([0, 1], [60, 28])
    for _ in range(samples):
        scores = rng.normal(size=88) + labels
        rows = rng.integers(88, size=(200, 88))
        drawn, order = labels[rows], np.argsort(scores[rows], axis=1)  # ties are copies of one row, in one class
        ranks, positives = np.argsort(order, axis=1) + 1, drawn.sum(axis=1)
        aucs = ((ranks * drawn).sum(axis=1) - positives * (positives + 1) / 2) / (positives * (88 - positives))
        low, high = np.quantile(aucs, [0.025, 0.975])
        held += low <= known <= high
    return held / samples


@pytest.mark.slow
def test_the_bootstrap_falls_a_little_short_of_its_promise(executed):
    assert f"{0.5 * math.erfc(-1 / 2):.3f}" == "0.760"
    assert "Over 3,000 samples, about 93% of the intervals hold the truth" in prose("02")
    assert coverage(3000) == pytest.approx(0.93, abs=0.005)
    share, low, high = numbers(executed("02"), r"their share, with its own interval: ([\d.]+)% \(([\d.]+) to ([\d.]+)\)")
    assert 87 <= share < 97
    assert low <= 93 and high >= 95  # "cannot tell 93% from 95%"


@pytest.mark.slow
def test_of_the_five_leaks_scaling_does_nothing_that_can_be_seen_and_the_rest_flatters(executed):
    pattern = r"{}\s+honest ([\d.]+), leaky ([\d.]+); flattered by ([-+\d.]+) \(([-+\d.]+) to ([-+\d.]+)\)"
    names = {
        "scaling": r"scaled before the split \(AUC\)",
        "copies": r"copies on both sides \(accuracy\)",
        "threshold": r"threshold chosen on the test rows \(F1\)",
        "answer": r"an answer among the questions \(AUC\)",
        "noise": r"columns chosen before the split \(AUC\)",
        "dropped": r"test rows with gaps dropped \(AUC\)",
    }
    found = {key: numbers(executed("02"), pattern.format(name)) for key, name in names.items()}
    assert found["scaling"][3] <= 0 <= found["scaling"][4]
    assert abs(found["scaling"][2]) < 0.002
    assert all(found[key][3] > 0.02 for key in ("copies", "threshold", "answer", "noise"))
    assert "is worth about two hundredths of AUC" in prose("02")
    assert found["dropped"][3] > 0 and f"{found['dropped'][2]:.2f}" == "0.02"
    assert f"{found['noise'][1]:.2f}" == re.search(r"of pure noise, an AUC of ([\d.]+\d)", prose("02"))[1]  # type: ignore[index]
    assert abs(found["noise"][0] - 0.5) < 0.05
    in_use = numbers(executed("02"), r"in use, where it is not known yet: ([\d.]+)")[0]
    assert abs(in_use - found["answer"][0]) < 0.02


def test_one_of_the_luckiest_columns_of_noise_has_alone_an_auc_of_0_59():
    outcome, found = (patients()[1] > 200).astype(int), []
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(size=(len(outcome), 2000))
        fit = np.abs((noise - noise.mean(axis=0)).T @ (outcome - outcome.mean())) / noise.std(axis=0)
        aucs = [roc_auc(outcome, noise[:, column]) for column in np.argsort(-fit)[:20]]
        found.append(np.mean(np.maximum(aucs, 1 - np.array(aucs))))
    assert f"{np.mean(found):.2f}" == "0.59"
    assert "has an AUC of about 0.59 over all rows" in prose("02")


def test_about_one_test_row_in_five_has_a_copy_among_the_training_rows():
    source = messy_patients(0).source
    shares = []
    for seed in range(40):
        test = np.random.default_rng(seed).permutation(len(source))[: len(source) // 5]
        shares.append(np.isin(source[test], np.delete(source, test)).mean())
    assert np.mean(shares) == pytest.approx(0.2, abs=0.03)
    assert "about one test row in five has one" in prose("02")


@pytest.mark.slow
def test_the_measures_equal_scikit_learns_and_pandas_to_1e_12(executed):
    differences = ast.literal_eval(executed("02").printed(r"largest differences: (\{.*\})")[1])
    assert len(differences) == 4
    assert all(float(value) <= 1e-12 for value in differences.values())
    assert numbers(executed("02"), r"preparation, largest difference: (\S+)")[0] <= 1e-12
    for words in ("same words: True  same counts: True", "same rows as drop_duplicates: True", "same numbers as to_numeric: True"):
        assert executed("02").printed(words)


@pytest.mark.slow
def test_a_loop_over_rows_is_slower_than_pandas_and_a_sort_is_not_far_from_scikit_learn(executed):
    ours, theirs = numbers(executed("02"), r"first_rows / drop_duplicates\s+yours\s+([\d.]+) ms, the library's\s+([\d.]+) ms")
    assert ours > 1.5 * theirs
    ours, theirs = numbers(executed("02"), r"roc_auc / roc_auc_score\s+yours\s+([\d.]+) ms, the library's\s+([\d.]+) ms")
    assert ours < 3 * theirs


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    records = [
        output.data["application/vnd.large-models-check+json"]
        for cell in executed("02").node.cells
        for output in cell.get("outputs", [])
        if "application/vnd.large-models-check+json" in output.get("data", {})
    ]
    assert [record["exercise"] for record in records] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in records)


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {
        record["prediction"].partition(".")[2]: record["truth"]
        for cell in executed("02").node.cells
        for output in cell.get("outputs", [])
        if (record := output.get("data", {}).get("application/vnd.large-models-prediction+json"))
    }
    assert float(truths["rows_left"]) == pytest.approx(0.95**10, abs=0.005)
    assert f"{0.95**10:.3f}" == "0.599" and "0.95 multiplied by itself ten times, 0.599" in prose("02")
    assert float(truths["lost_to_log"]) == pytest.approx(0.1587, abs=1e-4)
    assert truths["brighter"] == "44"
    assert truths["sharpened"] == "same"
    assert float(truths["half_as_wide"]) == pytest.approx(4, abs=0.1)
    assert 0.75 <= float(truths["noise_auc"]) <= 0.85
    assert f"{100 * 0.95**100:.1f}%" == "0.6%"
