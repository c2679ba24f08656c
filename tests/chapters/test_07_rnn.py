"""Chapter 07 as a whole: it runs, in time, and every number in its text is true."""

import re

import numpy as np
import pytest
import torch
from reference import namespace, prose

from autograder.release.build import exercise_infos
from autograder.release.chapters import find_chapter
from autograder.release.source import read
from course_lib.nn.recurrent import language, padding
from course_lib.nn.recurrent.adding import GUESSING, SOLVED, stored
from course_lib.nn.recurrent.cells import gru_cell
from course_lib.nn.recurrent.text import stored_losses
from course_lib.scratch import recurrent

CHAPTER = find_chapter("07")


def numbers(execution, pattern: str) -> list[float]:
    """All numbers of the first group of the pattern."""
    return [float(word) for word in re.findall(r"-?[\d.]+(?:e[-+]?\d+)?", execution.printed(pattern)[1])]


def records(execution, mimetype: str) -> list[dict]:
    outputs = [output for cell in execution.node.cells for output in cell.get("outputs", [])]
    return [output.data[mimetype] for output in outputs if mimetype in output.get("data", {})]


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert len(infos) == 9
    assert {info.level for info in infos} == {1, 2, 3}
    assert "The exercises take about two hours" in prose("07")
    assert 105 <= sum(info.minutes for info in infos) <= 135


def test_the_bug_hunt_starts_from_a_program_that_runs_and_reads_the_padding():
    hunts = [cell.keys["exercise"] for cell in read(CHAPTER.source).cells if "### ELSE BROKEN" in cell.text]
    assert hunts == ["Reader"]


def test_the_mended_reader_makes_its_first_state_where_its_input_is():
    """On torch's "meta" device, which every machine has: what is made on the processor cannot be mixed with it."""
    net = namespace("rnn", solved=True)["Reader"](3, 6, 2).to("meta")
    answer = net(torch.zeros(4, 5, 3, device="meta"), torch.tensor([5, 2, 1, 3], device="meta"))
    assert answer.device.type == "meta" and tuple(answer.shape) == (4, 2)


@pytest.mark.gpu
def test_the_mended_reader_runs_on_a_gpu():
    net = namespace("rnn", solved=True)["Reader"](3, 6, 2).cuda()
    assert net(torch.zeros(4, 5, 3, device="cuda"), torch.tensor([5, 2, 1, 3], device="cuda")).shape == (4, 2)


def test_the_students_functions_and_the_librarys_agree():
    names, rng = namespace("rnn", solved=True), np.random.default_rng(0)
    params, xs, h0 = recurrent.initial_rnn(2, 5), rng.normal(size=(7, 3, 2)), rng.normal(size=(3, 5))
    hs = names["rnn_forward"](params, xs, h0)
    np.testing.assert_allclose(hs, recurrent.rnn_forward(params, xs, h0), rtol=1e-12)
    grads = names["rnn_backward"](params, xs, h0, hs, hs)
    wanted = recurrent.rnn_backward(params, xs, h0, hs, hs)
    for name in grads:
        np.testing.assert_allclose(grads[name], wanted[name], rtol=1e-10)
    ids = rng.integers(9, size=400)
    assert names["bigram_loss"](ids[:300], ids[300:], 9) == pytest.approx(language.bigram_loss(ids[:300], ids[300:], 9))
    weights = [torch.randn(12, 2), torch.randn(12, 4), torch.randn(12), torch.randn(12)]
    x, lengths, h = torch.randn(3, 6, 2), torch.tensor([2, 6, 1]), torch.zeros(3, 4)
    found = names["padded_gru"](x, lengths, h, *weights)
    torch.testing.assert_close(found, padding.run_padded(lambda x_t, h: gru_cell(x_t, h, *weights), x, lengths, h))


def test_the_gate_that_keeps_half_over_fifty_steps_stands_where_the_text_says():
    gate = 0.5 ** (1 / 50)
    assert f"{gate:.3f}" == "0.986" and "the gate must stand at 0.986" in " ".join(cell.text for cell in read(CHAPTER.source).cells)
    assert np.log(gate / (1 - gate)) == pytest.approx(4.3, abs=0.05)
    assert f"{1.1**50:.0f}" == "117"


def test_the_stored_curves_are_told_as_they_are():
    config, curves, others = stored()
    solved = {kind: [curve.solved_at() or 0 for curve in curves if curve.kind == kind] for kind in ("LSTM", "GRU", "attention")}
    assert {kind: (min(steps), max(steps)) for kind, steps in solved.items()} == {"LSTM": (1150, 1250), "GRU": (400, 450), "attention": (100, 250)}
    assert "Attention has it after 100 to 250 steps, the GRU after 400 to 450, the LSTM after 1,150 to 1,250." in prose("07")
    rnn = [curve for curve in (*curves, *others) if curve.kind == "RNN"]
    assert len(rnn) == 9 and len({curve.lr for curve in rnn}) == 3 and "begins to fall in its last 200 steps, from 0.164 to 0.125" in prose("07")
    last = sorted(curve.errors[-1] for curve in rnn)
    assert last[0] == pytest.approx(0.125, abs=0.001) and last[1] > 0.155
    falling = next(curve for curve in rnn if curve.errors[-1] == last[0])
    assert min(falling.errors[: -200 // falling.every]) > 0.16 and config.steps == 2500 == 2 * max(solved["LSTM"])
    for curve in curves:
        if curve.kind == "LSTM":  # guessing for about a thousand steps, then down within a few hundred
            first_below = next(number for number, error in enumerate(curve.errors) if error < 0.1)
            assert 700 <= (first_below + 1) * curve.every <= 1300
            assert (curve.solved_at() or 0) - (first_below + 1) * curve.every <= 400


def test_the_stored_losses_are_told_as_they_are():
    losses = stored_losses()
    assert {len(values) for values in losses.values()} == {3}
    narrow, lstm, faster = losses["RNN", 128, 0.01], losses["LSTM", 128, 0.01], losses["LSTM", 128, 0.02]
    wide, slower = losses["RNN", 249, 0.01], losses["RNN", 249, 0.005]
    assert max(lstm) < min(narrow)  # as many units
    assert max(lstm) < min(wide) and max(slower) < min(lstm)  # as many parameters, at that rate and at half of it
    assert max(faster) < min(slower)  # each at the better of its two rates


def test_the_parameters_that_the_text_compares_are_those_of_the_models():
    lstm, rnn, wide = (
        sum(param.numel() for param in language.CharModel(104, 32, hidden, kind).parameters())
        for kind, hidden in (("LSTM", 128), ("RNN", 128), ("RNN", 249))
    )
    assert lstm / rnn == pytest.approx(2.66, abs=0.1) and "nearly three times as many parameters" in prose("07")
    assert wide == pytest.approx(lstm, rel=0.005)


@pytest.mark.slow
def test_the_solution_notebook_runs_within_180_seconds_and_two_gigabytes_and_says_nothing_on_stderr(executed):
    execution = executed("07")
    assert execution.seconds <= 180
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    checks = records(executed("07"), "application/vnd.large-models-check+json")
    assert [record["exercise"] for record in checks] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in checks)


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {record["prediction"]: float(record["truth"]) for record in records(executed("07"), "application/vnd.large-models-prediction+json")}
    assert truths == {
        "rnn.guessing": pytest.approx(1 / 6, abs=0.002),
        "rnn.shrink": pytest.approx(0.9**50, rel=1e-3),
        "rnn.forget": pytest.approx(50 * np.log10(1 / (1 + np.exp(-1))), abs=0.01),
        "rnn.right_step": pytest.approx(1 / 20, abs=0.01),
    }


@pytest.mark.slow
def test_backpropagation_through_time_and_the_cells_are_torchs(executed):
    assert numbers(executed("07"), r"largest relative difference from autograd (\S+)")[0] < 1e-10
    for name in ("LSTM", "GRU"):
        states, gradients = numbers(executed("07"), rf"nn\.{name}: (states differ by at most \S+, gradients by \S+)")
        assert states < 1e-12 and gradients < 1e-10


@pytest.mark.slow
def test_the_gradient_vanishes_below_radius_1_grows_above_it_and_vanishes_again_when_tanh_is_flat(executed):
    left = {
        radius: numbers(executed("07"), rf"spectral radius {radius}: share left after 10 steps \S+, after 49 ([^;]+);")[0]
        for radius in (0.5, 0.9, 2.0)
    }
    assert left[0.5] < 1e-12 < left[0.9] < 1e-2 < 1e2 < left[2.0]
    assert numbers(executed("07"), r"inputs 100 times as large: share left after 49 steps (\S+)")[0] < 1e-10


@pytest.mark.slow
def test_without_clipping_all_five_runs_are_lost_and_with_it_none_is_and_none_can_add(executed):
    lost = executed("07").printed(r"not clipped\s+last losses: (.*)")[1].split()
    assert len(lost) == 5 and all(not float(word) < 1e100 for word in lost)
    saved = numbers(executed("07"), r"clipped to 1 last losses: (.*)")
    assert len(saved) == 5 and min(saved) > GUESSING and max(saved) < 1
    usual, longest = numbers(executed("07"), r"clipped: (median length \S+, longest \S+)")
    assert 10 < longest / usual < 20


@pytest.mark.slow
def test_untrained_lstms_and_grus_forget_like_an_rnn_and_a_forget_bias_keeps(executed):
    left = {
        name: numbers(executed("07"), rf"\n{name}\s+share left after 10 steps \S+, after 49 (\S+)")[0]
        for name in ("RNN", "GRU", "LSTM", "LSTM, forget bias 1", "LSTM, forget bias 4.3")
    }
    assert max(left["RNN"], left["GRU"], left["LSTM"]) < 1e-8
    assert 1e-6 < left["LSTM, forget bias 1"] < 0.01
    assert 1 < left["LSTM, forget bias 4.3"] < 10


@pytest.mark.slow
def test_reading_the_padding_is_guessing_and_the_mended_reader_is_right(executed):
    found, mended = (numbers(executed("07"), rf"{name}\s+((?:[\d.]+%\s*)+)") for name in ("as found", "mended"))
    assert len(found) == len(mended) == 3
    assert max(found) < 56 < 97 < min(mended)


@pytest.mark.slow
def test_every_rung_of_the_ladder_is_a_step_down(executed):
    losses = [numbers(executed("07"), rf"\n{name}\s+([\d.]+) nats, ")[0] for name in ("uniform", "unigram", "bigram", "RNN", "LSTM")]
    assert losses == sorted(losses, reverse=True)
    assert losses[3] < losses[2] - 0.7 and losses[4] < losses[3] - 0.02


@pytest.mark.slow
def test_the_live_learner_adds_and_one_long_sequence_takes_longer_than_many_short_ones(executed):
    assert numbers(executed("07"), r"trained just now: error (\S+)")[0] < SOLVED
    short, long = (numbers(executed("07"), rf"\n\s*{rows} ×\s+{steps} steps:\s+(\S+) ms")[0] for rows, steps in ((512, 16), (1, 8192)))
    assert long > 1.2 * short
