"""Chapter 08 as a whole: it runs, in time, and every number in its text is true."""

import math
import re

import numpy as np
import pytest
import torch
from reference import namespace, prose
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from autograder.checking.exercise import find
from autograder.checking.render import as_text
from autograder.release.build import exercise_infos
from autograder.release.chapters import find_chapter
from autograder.release.source import read
from course_lib.attention_costs import stored
from course_lib.nn.attention import masks, multihead, scaled, scores, streaming

CHAPTER = find_chapter("08")


def records(execution, mimetype: str) -> list[dict]:
    outputs = [output for cell in execution.node.cells for output in cell.get("outputs", [])]
    return [output.data[mimetype] for output in outputs if mimetype in output.get("data", {})]


@pytest.fixture(scope="module")
def names() -> dict:
    return namespace("attention", solved=True)


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert len(infos) == 9
    assert {info.level for info in infos} == {1, 2, 3}
    assert "The exercises take about an hour and a half" in prose("08")
    assert 80 <= sum(info.minutes for info in infos) <= 100


def test_three_bug_hunts_start_from_programs_that_run():
    hunts = [cell.keys["exercise"] for cell in read(CHAPTER.source).cells if "### ELSE BROKEN" in cell.text]
    assert hunts == ["mend_empty_rows", "mend_next_tokens", "SelfAttention"]


def test_every_place_that_takes_a_mask_says_what_true_means():
    text = "\n".join(cell.text for cell in read(CHAPTER.source).cells)
    for name in ("attention", "mend_empty_rows", "causal_mask", "MultiHeadAttention"):
        cell = next(cell for cell in read(CHAPTER.source).cells if cell.keys.get("exercise") == name)
        assert "may attend" in cell.text, name
    assert text.count("may attend") >= 7
    for function in (masks.causal_mask, masks.padding_mask, scaled.attention, scaled.masked_softmax, multihead.MultiHeadAttention.forward):
        assert "True" in (function.__doc__ or ""), function.__name__


def test_the_table_of_polarities_tells_the_truth_about_torch():
    torch.manual_seed(0)
    x, mask = torch.randn(1, 3, 4), torch.tensor([[True, True, False]] * 3)
    poked = x.clone()
    poked[:, 2] += 1
    layer = nn.MultiheadAttention(4, 1, batch_first=True)
    encoder = nn.TransformerEncoderLayer(4, 1, 8, batch_first=True).eval()
    both = [F.scaled_dot_product_attention(x, y, y, attn_mask=mask) for y in (x, poked)]
    assert torch.equal(*both)  # True attends: the third key, False, is not seen
    assert torch.equal(*(layer(x, y, y, attn_mask=~mask)[0] for y in (x, poked)))  # True hides
    assert torch.equal(*(encoder(y, src_mask=~mask)[:, :2] for y in (x, poked)))
    added = torch.where(mask, 0.0, -math.inf)
    assert torch.equal(F.scaled_dot_product_attention(x, x, x, attn_mask=added), both[0])
    torch.testing.assert_close(layer(x, x, x, attn_mask=added)[0], layer(x, x, x, attn_mask=~mask)[0])


def test_torchs_kernel_gives_zeros_for_an_empty_row_and_its_module_nan_when_asked_for_weights():
    x, nobody = torch.randn(1, 3, 4), torch.zeros(3, 3, dtype=torch.bool)
    assert not F.scaled_dot_product_attention(x, x, x, attn_mask=nobody).any()
    layer = nn.MultiheadAttention(4, 1, batch_first=True)
    assert layer(x, x, x, attn_mask=~nobody)[0].isnan().all()
    assert torch.isfinite(layer(x, x, x, attn_mask=~nobody, need_weights=False)[0]).all()


def test_the_students_functions_are_those_of_the_library(names):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 4)
    mask = names["causal_mask"](5, 7)
    assert torch.equal(mask, masks.causal_mask(5, 7))
    output, weights = names["attention"](query, key, value, mask)
    torch.testing.assert_close(output, scaled.fused_attention(query, key, value, causal=True))
    torch.testing.assert_close(weights, scaled.attention_weights(query, key, mask))
    parts = [torch.randn(*shape) for shape in ((8, 6), (8, 6), (6,))]
    torch.testing.assert_close(names["additive_scores"](query, key, *parts), scores.additive_scores(query, key, *parts))
    start = streaming.nothing_yet(query, 4)
    for mine, theirs in zip(names["absorb"](start, query, key, value), streaming.absorb(start, query, key, value), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_students_module_takes_the_librarys_weights_and_gives_the_same(names):
    torch.manual_seed(0)
    theirs = multihead.MultiHeadAttention(multihead.AttentionConfig(12, 3))
    mine = names["MultiHeadAttention"](12, 3)
    mine.load_state_dict(theirs.state_dict())
    x, context, mask = torch.randn(2, 5, 12), torch.randn(2, 6, 12), masks.padding_mask(torch.tensor([4, 6]), 6)
    torch.testing.assert_close(mine(x, context, mask), theirs(x, context, mask))


def test_the_source_articles_program_is_right_only_while_both_widths_are_the_same():
    """As found: the root of the input's width, and an output map that takes the input's width."""

    class AsFound(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.inputs = inputs
            self.query, self.key, self.value, self.output = (nn.Linear(inputs, outputs) for _ in range(4))

        def forward(self, x):
            weights = (self.query(x) @ self.key(x).transpose(-2, -1) / math.sqrt(self.inputs)).softmax(-1)
            return self.output(weights @ self.value(x))

    x = torch.randn(2, 5, 8)
    net = AsFound(8, 8)
    torch.testing.assert_close(net(x), net.output(scaled.attention(net.query(x), net.key(x), net.value(x))))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        AsFound(8, 4)(x)


def test_a_causal_mask_over_newer_tokens_is_what_mended_generation_needs(names):
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 6, 4) for _ in range(3))
    whole = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    for count in range(1, 7):
        torch.testing.assert_close(names["mend_next_tokens"](query[:, :, -count:], key, value), whole[:, :, -count:])


@pytest.mark.parametrize("name", ["attention", "MultiHeadAttention", "absorb", "additive_scores"])
def test_a_right_answer_through_numpys_or_float64s_detours_is_still_right(name, names):
    """Contiguity and a wider number format on the way are nobody's mistake."""
    right = names[name]

    def detour(*arguments, **named):
        def through(value):
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim:
                return value.double().flip(0).flip(0).float().requires_grad_(value.requires_grad)
            return tuple(map(through, value)) if isinstance(value, tuple) else value

        return right(*map(through, arguments), **{key: through(value) for key, value in named.items()})

    for seed in range(3):
        result = find(f"attention.{name}").run({name: detour}, seed)
        assert result.solved, as_text(result)


@pytest.mark.parametrize("name", ["soft_lookup", "additive_scores", "attention", "mend_empty_rows", "mend_next_tokens", "absorb"])
@pytest.mark.parametrize("junk", ["the first argument", "zeros", "NaN"])
def test_junk_of_the_right_kind_earns_next_to_nothing(name, junk):
    def answer(*arguments):
        first = arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0]
        given = {"the first argument": first, "zeros": torch.zeros_like(first), "NaN": torch.full_like(first, math.nan)}[junk]
        count = {"mend_empty_rows": 3, "absorb": 3, "soft_lookup": 2, "attention": 2}.get(name, 1)
        return (given,) * count if count > 1 else given

    item = find(f"attention.{name}")
    assert item.run({name: answer}).score <= item.points / 5


def test_the_stored_figures_say_what_the_text_says_of_them():
    costs = stored("cpu")
    assert costs.tokens[0] == 64 and costs.tokens[-1] == 4096
    assert 1.8 < costs.law("peak_bytes", "formula").exponent < 2.1 and 0.7 < costs.law("peak_bytes", "kernel").exponent < 1.2
    assert 1.8 < costs.law("kept_bytes", "formula").exponent < 2.05 and 0.95 < costs.law("kept_bytes", "kernel").exponent < 1.05
    for way in ("formula", "kernel"):
        assert 1.6 < costs.law("seconds", way).exponent < 2.8
    with pytest.raises(KeyError, match="no stored figures for 'tpu'"):
        stored("tpu")


def test_the_multiplications_of_attention_and_recurrence_are_those_of_the_text():
    tokens, width = 48, 32
    module = multihead.MultiHeadAttention(multihead.AttentionConfig(width, 4))
    with FlopCounterMode(display=False) as counted:  # two operations for each multiplication
        module.output(scaled.attention(*(layer(torch.zeros(tokens, width)) for layer in (module.query, module.key, module.value))))
    assert counted.get_total_flops() == 2 * (4 * tokens * width**2 + 2 * tokens**2 * width)
    for cell, times in ((nn.RNN, 2), (nn.LSTM, 8)):
        assert sum(p.numel() for name, p in cell(width, width).named_parameters() if "weight" in name) == times * width**2
    assert "$4TW^2$ for its four maps and $2T^2W$" in prose("08")


def train_reader(names: dict, build, length: int, steps: int) -> float:
    """The share of letters read rightly by a reader trained as the notebook trains it, with seed 0."""
    cells = [cell.text for cell in read(CHAPTER.source).cells if "def train_reader" in cell.text]
    scope = {**names, "device": torch.device("cpu")}
    exec(cells[0], scope)
    torch.set_num_threads(1)
    return scope["train_reader"](build, length, seed=0, steps=steps)[1]


@pytest.mark.slow
def test_with_2000_steps_the_fixed_vector_reads_about_two_thirds_of_eight_cards(names):
    assert train_reader(names, names["FixedVectorReader"], 8, 2000) == pytest.approx(2 / 3, abs=0.1)
    assert "2,000 steps in place of 300" in prose("08") and "about two thirds of eight cards" in prose("08")


@pytest.mark.slow
@pytest.mark.parametrize(("length", "share"), [(4, 2 / 3), (8, 1 / 5)])
def test_the_last_state_of_an_lstm_is_no_better_a_vector(names, length, share):
    class LSTMReader(names["Reader"]):
        def __init__(self, length, width=64):
            super().__init__(length, width)
            self.read = nn.LSTM(width, width, batch_first=True)
            self.answer = nn.Sequential(nn.Linear(2 * width, 128), nn.ReLU(), nn.Linear(128, 26))

        def forward(self, numbers, letters):
            _, (last, _) = self.read(self.cards(numbers, letters))
            vector = last[0][:, None].expand(-1, numbers.shape[1], -1)
            return self.answer(torch.cat([vector, self.steps(numbers)], dim=-1))

    assert train_reader(names, LSTMReader, length, 300) == pytest.approx(share, abs=0.07)
    assert "reads two thirds of four cards and a fifth of eight" in prose("08")


@pytest.mark.slow
def test_the_solution_notebook_runs_within_90_seconds_and_two_gigabytes_and_says_nothing_on_stderr(executed):
    execution = executed("08")
    assert execution.seconds <= 90
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    checks = records(executed("08"), "application/vnd.large-models-check+json")
    assert [record["exercise"] for record in checks] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in checks)


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {record["prediction"]: float(record["truth"]) for record in records(executed("08"), "application/vnd.large-models-prediction+json")}
    assert truths == {"attention.score_spread": 8, "attention.is_causal": 1, "attention.shuffle": 0, "attention.table_size": 512}
    assert float(executed("08").printed(r"measured on 20,000 pairs: ([\d.]+)")[1]) == pytest.approx(8, rel=0.03)
    assert "at width 64 the raw scores have a spread of 8" in prose("08")


@pytest.mark.slow
def test_they_look_at_dogs_and_sharpness_goes_from_the_mean_to_the_look_up(executed):
    assert executed("08").printed(r"sharpness    0: (.*)")[1].count("0.11") == 9
    assert executed("08").printed(r"sharpness   30: (.*)")[1] == "dogs 1.00"


@pytest.mark.slow
def test_the_dot_product_is_many_times_faster_than_the_additive_score(executed):
    additive, dot = (float(executed("08").printed(rf"{name}\s+([\d.]+) ms for 256 × 256")[1]) for name in ("additive", "dot product"))
    assert additive > 10 * dot


@pytest.mark.slow
def test_without_the_root_the_spread_grows_and_the_slopes_vanish_and_with_it_nothing_depends_on_the_width(executed):
    rows = re.findall(r"(?m)^ *(4|16|64|256|1024)  +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) *$", executed("08").said)
    table = np.array(rows, dtype=float)
    assert len(table) == 5
    np.testing.assert_allclose(table[:, 1], np.sqrt(table[:, 0]), rtol=0.05)
    assert (np.diff(table[:, 2]) > 0).all() and (np.diff(table[:, 3]) < 0).all() and table[-1, 2] > 0.9 > 0.1 > table[-1, 3]
    assert np.ptp(table[:, 4]) < 0.1 and np.ptp(table[:, 5]) < 0.03 and np.ptp(table[:, 6]) < 0.03


@pytest.mark.slow
def test_nan_is_in_the_slopes_behind_a_right_output(executed):
    assert executed("08").printed(r"weights: \[0.0, 0.0\]   slopes of the scores: \[nan, nan\]")


@pytest.mark.slow
def test_the_students_heads_are_torchs_in_values_and_slopes_and_the_other_polarity_is_far_off(executed):
    assert float(executed("08").printed(r"largest difference of an output:\s+(\S+)")[1]) < 1e-5
    assert float(executed("08").printed(r"largest difference of a slope, of the largest slope: (\S+)")[1]) < 1e-5
    far = executed("08").printed(r"wrong way round: ([\d.]+), and the last token gets nan")
    assert float(far[1]) > 0.1
    assert executed("08").printed(r"parameters, theirs and ours: (\d+) (\d+)").groups() == ("16640", "16640")


@pytest.mark.slow
def test_attention_reads_every_length_and_the_fixed_vector_does_not_over_three_seeds(executed):
    found = {
        (name, length): [float(word) for word in re.findall(r"[\d.]+(?=%)", executed("08").printed(rf"{name} +{length} cards: (.*)")[1])][1:]
        for name in ("AttentionReader", "FixedVectorReader")
        for length in (2, 4, 8, 16)
    }
    assert all(len(each) == 3 for each in found.values())
    assert min(min(found["AttentionReader", length]) for length in (2, 4, 8, 16)) > 99
    assert min(found["FixedVectorReader", 2]) > 99
    assert 50 < np.mean(found["FixedVectorReader", 4]) < 90
    for length in (8, 16):
        frequent = float(executed("08").printed(rf"{length} cards: the most frequent letter is ([\d.]+)%")[1])
        assert np.mean(found["FixedVectorReader", length]) < frequent + 2
    counts = {
        name: int(executed("08").printed(rf"{name}\s+([\d,]+) parameters")[1].replace(",", "")) for name in ("AttentionReader", "FixedVectorReader")
    }
    assert counts["FixedVectorReader"] > 2 * counts["AttentionReader"]


@pytest.mark.slow
def test_the_alignment_that_nobody_showed_is_found(executed):
    assert float(executed("08").printed(r"the largest weight lies on the right card in ([\d.]+)% of steps")[1]) > 99
    assert float(executed("08").printed(r"which gets ([\d.]+)% of all weight")[1]) > 95
    assert executed("08").printed(r"→  attention")


@pytest.mark.slow
def test_formula_blocks_and_kernel_give_the_same_numbers(executed):
    for pair in ("formula and blocks", "formula and kernel"):
        assert float(executed("08").printed(rf"{pair}: largest difference (\S+)")[1]) < 1e-5
    assert float(executed("08").printed(r"their slopes: largest difference (\S+) of the largest slope")[1]) < 1e-5


@pytest.mark.slow
def test_memory_is_quadratic_for_the_formula_and_linear_for_the_kernel_and_time_is_about_quadratic_for_both(executed):
    laws = {
        name: [float(word) for word in executed("08").printed(rf"{name}: time grows like T\^([\d.]+), memory like T\^([\d.]+)").groups()]
        for name in ("formula", "kernel")
    }
    assert 1.8 < laws["formula"][1] < 2.05 and 0.95 < laws["kernel"][1] < 1.05
    assert all(1.5 < law[0] < 3 for law in laws.values())
    longest = [float(word) for word in executed("08").printed(r" 4096 +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)").groups()]
    assert longest[0] > 1.2 * longest[2] and longest[1] > 10 * longest[3]


def test_there_are_as_many_rows_of_two_cards_as_the_text_says():
    assert "1,352 different rows" in prose("08") and 2 * 26**2 == 1352
    assert "eleven million" in prose("08") and round(24 * 26**4 / 1e6) == 11


def test_a_query_that_sees_nothing_has_slope_zero_through_the_readers_own_attention(executed):
    assert executed("08").printed(r"slopes of a query that sees nothing, through your attention: \[\[(\S+), (\S+)\]\]").groups() == ("0.0", "0.0")
