"""Chapter 09 as a whole: it runs, in time, and every number in its text is true."""

import math
import re

import numpy as np
import pytest
import torch
from reference import namespace, prose
from torch import nn
from torch.nn import functional as F

from autograder.release.build import exercise_infos
from autograder.release.chapters import find_chapter
from autograder.release.source import read
from course_lib.data.dates import date_pairs
from course_lib.data.number_words import LARGEST, number_pairs
from course_lib.data.pairs import PAD
from course_lib.nn.transformer.chains import history_step
from course_lib.nn.transformer.decoding import beam_search, greedy
from course_lib.nn.transformer.model import Transformer, TransformerConfig
from course_lib.translation import TranslationConfig, exact_share, learning_rate, train_translator
from course_lib.translation_results import about, stored

CHAPTER = find_chapter("09")


def records(execution, mimetype: str) -> list[dict]:
    outputs = [output for cell in execution.node.cells for output in cell.get("outputs", [])]
    return [output.data[mimetype] for output in outputs if mimetype in output.get("data", {})]


def shares(variant: str) -> list[float]:
    return [run.exact for run in stored() if run.variant == variant]


def last_losses(variant: str) -> list[float]:
    return [run.loss for run in stored() if run.variant == variant]


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert len(infos) == 10
    assert {info.level for info in infos} == {1, 2, 3}
    assert "The exercises take about two and a half hours" in prose("09")
    assert 135 <= sum(info.minutes for info in infos) <= 165


def test_three_bug_hunts_start_from_programs_with_the_articles_mistakes():
    hunts = [cell.keys["exercise"] for cell in read(CHAPTER.source).cells if "### ELSE BROKEN" in cell.text]
    assert hunts == ["Tagger", "TinyTransformer", "greedy"]


def test_the_counts_in_the_text_are_those_of_the_data():
    split = number_pairs(seed=0)
    assert len(split.train) + len(split.test) == 12_000 and "We draw 12,000 numbers" in prose("09")
    assert f"{len(split.test):,} numbers that it has never seen" in prose("09")
    assert 0.008 < len(split.train) / (LARGEST + 1) < 0.012 and "about one in a hundred of all numbers below a million" in prose("09")


def test_torch_has_no_transformer_layer_and_a_list_of_layers_cannot_be_called():
    assert not hasattr(nn, "TransformerLayer")
    with pytest.raises(NotImplementedError, match='ModuleList\\] is missing the required "forward" function'):
        nn.ModuleList([nn.Linear(2, 2)])(torch.zeros(1, 2))
    assert 'Module [ModuleList] is missing the required "forward" function' in prose("09")


def test_a_table_of_100_places_makes_a_hundred_tokens_of_one_without_a_word():
    assert (torch.zeros(2, 1, 16) + torch.zeros(1, 100, 16)).shape == (2, 100, 16)
    with pytest.raises(RuntimeError, match=r"The size of tensor a \(7\) must match the size of tensor b \(100\)"):
        torch.zeros(2, 7, 16) + torch.zeros(1, 100, 16)


def test_torchs_layers_let_sentences_of_a_batch_see_each_other_unless_told_otherwise():
    torch.manual_seed(0)
    x = torch.randn(3, 6, 16)
    other = x.clone()
    other[1:] += 1.0
    for batch_first in (False, True):
        layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=batch_first)
        assert torch.allclose(layer(x)[0], layer(other)[0], atol=1e-5) is batch_first


def test_a_linear_on_one_hot_rows_is_an_embedding_plus_a_bias_and_fails_on_token_numbers():
    torch.manual_seed(0)
    linear, tokens = nn.Linear(11, 4), torch.tensor([[3, 0, 10]])
    embedded = F.embedding(tokens, linear.weight.T) + linear.bias
    torch.testing.assert_close(linear(F.one_hot(tokens, 11).float()), embedded)
    with pytest.raises(RuntimeError):
        linear(tokens)


def test_rows_of_attention_weights_add_up_to_one_and_columns_need_not():
    weights = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).softmax(-1)
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    assert not torch.allclose(weights.sum(0), torch.ones(5), atol=0.1)


def test_the_students_layers_and_the_librarys_agree():
    names = namespace("transformer", solved=True)
    torch.manual_seed(0)
    config = TransformerConfig(30, 20)
    library, own = Transformer(config), names["Translator"](30, 20)
    renamed = {
        name.replace("encoder.layers", "encoder_layers")
        .replace("decoder.layers", "decoder_layers")
        .replace("encoder.norm", "encoder_norm")
        .replace("decoder.norm", "decoder_norm"): value
        for name, value in library.state_dict().items()
    }
    own.load_state_dict({**renamed, "waves": own.state_dict()["waves"]})
    source, target = torch.tensor([[5, 6, 7, 8], [9, 4, PAD, PAD]]), torch.tensor([[1, 3, 4], [1, 7, PAD]])
    torch.testing.assert_close(own(source, target), library(source, target)[0], atol=1e-5, rtol=1e-4)
    memory = torch.randn(1, 6, 5, 5, generator=torch.Generator().manual_seed(1))
    assert names["greedy"](history_step, memory, 1, 2, 6) == greedy(history_step, memory, bos=1, eos=2, max_len=6)
    for alpha in (0.0, 1.0):
        mine, theirs = (
            names["beam_search"](history_step, memory, 3, 1, 2, 6, alpha),
            beam_search(history_step, memory, width=3, bos=1, eos=2, max_len=6, alpha=alpha),
        )
        assert mine[0] == theirs[0] and mine[1] == pytest.approx(theirs[1], abs=1e-5)


def test_the_bonus_gives_the_same_scores_as_encoding_anew():
    names = namespace("transformer", solved=True)
    torch.manual_seed(0)
    net = names["Translator"](30, 20)
    words, tokens = torch.tensor([[5, 6, 7, 8], [9, 4, PAD, PAD]]), torch.tensor([[1, 3, 4], [1, 7, 8]])
    both = torch.cat([net.encode(words), words[:, :, None]], dim=2)
    torch.testing.assert_close(net.decode(both[:, :, -1].long(), tokens, both[:, :, :-1]), net(words, tokens))


def test_four_coins_agree_once_in_eight_and_the_smoothed_floor_is_half_a_nat():
    assert 2 / 2**4 == 0.125
    assert -(0.91 * math.log(0.91) + 9 * 0.01 * math.log(0.01)) == pytest.approx(0.5003, abs=1e-4)
    assert -0.91 * math.log(0.91) == pytest.approx(0.086, abs=5e-4) and -math.log(0.01) == pytest.approx(4.605, abs=5e-4)


def test_the_stored_runs_say_how_they_were_made_and_cover_every_variant_with_three_seeds():
    assert about()["command"].startswith("python benchmarks/translation.py") and re.fullmatch(r"\d{4}-\d\d-\d\d", about()["date"])
    variants = {run.variant for run in stored()}
    assert len(variants) == 11 and all(sorted(run.seed for run in stored() if run.variant == variant) == [0, 1, 2] for variant in variants)


def test_the_learning_rate_without_a_ramp_starts_at_its_highest():
    config = TranslationConfig(warmup=10, ramp=False)
    rates = [learning_rate(step, config, 64) for step in range(40)]
    assert rates[0] == rates[9] == max(rates) == pytest.approx(0.5 * (64 * 10) ** -0.5)
    ramped = [learning_rate(step, TranslationConfig(warmup=10), 64) for step in range(40)]
    assert ramped[0] < ramped[5] < ramped[9] == rates[9] and ramped[10:] == rates[10:]


def test_a_few_steps_of_the_librarys_training_are_the_same_twice_and_lower_the_loss():
    config = TranslationConfig(steps=40, batch_size=16, warmup=20)
    (translator, losses), (_, again) = (train_translator(number_pairs(seed=0), config) for _ in range(2))
    assert losses == again and np.mean(losses[-5:]) < 0.5 * losses[0]
    share = exact_share(translator, number_pairs(seed=0).test[:20])
    assert 0 <= share <= 1


@pytest.mark.slow
def test_the_solution_notebook_runs_within_180_seconds_and_two_gigabytes_and_says_nothing_on_stderr(executed):
    execution = executed("09")
    assert execution.seconds <= 180
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    checks = records(executed("09"), "application/vnd.large-models-check+json")
    assert [record["exercise"] for record in checks] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in checks)


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {record["prediction"]: float(record["truth"]) for record in records(executed("09"), "application/vnd.large-models-prediction+json")}
    assert truths == {
        "transformer.no_places": 1,
        "transformer.peeking": pytest.approx(np.mean(shares("no causal mask")), rel=0.01, abs=1e-4),
        "transformer.smoothed_floor": pytest.approx(0.5003, abs=1e-3),
        "transformer.two_styles": 0.125,
    }


@pytest.mark.slow
def test_numbers_are_translated_with_at_least_99_percent_right_after_less_than_a_minute_of_training(executed):
    assert float(executed("09").printed(r"(\d+) s of processor time")[1]) <= 60
    found = re.findall(r"exactly right: ([\d.]+)%", executed("09").said)
    assert len(found) == 2 and min(map(float, found)) >= 99
    assert "one hundred twenty thousand three hundred forty-five → 十二万零三百四十五" in executed("09").said


def test_the_ablation_came_out_as_the_text_tells():
    assert min(shares("as in this chapter")) > 0.99
    assert max(shares("no causal mask")) < 0.01 and np.mean(last_losses("no causal mask")) <= np.mean(last_losses("as in this chapter")) + 1e-3
    assert min(shares("source without places")) > 0.15 and max(shares("source without places")) < 0.25 and "a fifth is" in prose("09")
    assert all(0.75 < share < 0.9 for share in shares("source pressed into one vector")) and "about one number in five goes wrong" in prose("09")
    mild = ("no warm-up", "post-norm", "post-norm, no warm-up", "target without places", "no label smoothing", "encoder thrown away")
    assert all(min(shares(variant)) > 0.975 for variant in mild)
    gain = np.mean(shares("as in this chapter")) - np.mean(shares("no label smoothing"))
    assert 0.003 < gain < 0.01 and "worth about half a point" in " ".join(prose("09").split())
    assert all(abs(np.mean(shares(variant)) - np.mean(shares("as in this chapter"))) < 0.005 for variant in mild[:4])
    assert np.mean(shares("encoder thrown away")) > np.mean(shares("decoder from context alone")) > 0.95


@pytest.mark.slow
def test_a_beam_helps_the_half_trained_network_less_than_the_intervals_are_wide(executed):
    wide, narrow = (executed("09").printed(rf"{name}\s+([\d.]+)% \(([\d.]+) to ([\d.]+)\)") for name in ("beam of 4", "greedy"))
    assert float(narrow[2]) < float(wide[1]) < float(narrow[3]) and 40 < float(narrow[1]) < 97


@pytest.mark.slow
def test_dates_at_the_rate_of_numbers_stay_just_below_99_percent():
    split = date_pairs(20_000, test_fraction=0.1, seed=0)
    translator, _ = train_translator(split, TranslationConfig(steps=700))
    assert 0.97 < exact_share(translator, split.test) < 0.99 and "stays just below 99%" in prose("09")


@pytest.mark.slow
def test_the_loss_ends_at_the_floor_that_smoothing_allows(executed):
    end = float(executed("09").printed(r"at the end ([\d.]+)")[1])
    floor = float(executed("09").printed(r"the least possible loss with s = 0.1 and \d+ tokens: ([\d.]+)")[1])
    assert floor < end < floor + 0.02


@pytest.mark.slow
def test_nn_transformer_with_copied_weights_gives_the_same_logits_and_gradients(executed):
    assert float(executed("09").printed(r"largest difference of a logit: (\S+)")[1]) < 1e-4
    assert float(executed("09").printed(r"largest difference of a gradient: (\S+)")[1]) < 1e-5


@pytest.mark.slow
def test_the_students_encoder_is_about_as_fast_as_torchs(executed):
    assert float(executed("09").printed(r"([\d.]+) times its time")[1]) < 1.3
