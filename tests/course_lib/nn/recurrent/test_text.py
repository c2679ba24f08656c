"""The alphabet, the streams, and the ladder of language models."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.nn.recurrent.language import CharModel, bigram_loss, uniform_loss, unigram_loss
from course_lib.nn.recurrent.text import UNKNOWN, Alphabet, detached, held_out_loss, sample, streams


@given(st.text(min_size=1))
def test_a_text_of_known_characters_survives_encoding_and_decoding(text):
    alphabet = Alphabet.of(text)
    assert alphabet.decode(alphabet.encode(text)) == text


def test_an_unknown_character_becomes_the_last_number():
    alphabet = Alphabet.of("abc")
    assert alphabet.encode("ax").tolist() == [0, len(alphabet) - 1]
    assert alphabet.decode([0, len(alphabet) - 1]) == "a" + UNKNOWN


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 60))
def test_streams_go_on_where_they_stopped_and_targets_are_one_ahead(num_streams, length, more):
    ids = np.arange(num_streams * length + 1 + more)
    batches = list(streams(ids, num_streams, length))
    joined = torch.cat([inputs for inputs, _ in batches], dim=1)
    assert (joined.diff(dim=1) == 1).all()
    assert all((targets == inputs + 1).all() for inputs, targets in batches)
    starts = joined[:, 0]
    assert (starts.diff() == (len(ids) - 1) // num_streams).all()
    assert joined.numel() >= len(ids) - 1 - num_streams - num_streams * length


def test_streams_refuse_a_text_that_is_too_short():
    with pytest.raises(ValueError, match="9 characters are too few for 2 streams of 5"):
        next(streams(np.arange(9), 2, 5))


def test_detached_cuts_the_history_of_tensors_pairs_and_nothing():
    leaf = torch.ones(2, requires_grad=True)
    assert detached(None) is None
    assert not detached(leaf * 2).requires_grad
    assert [part.requires_grad for part in detached((leaf * 2, leaf * 3))] == [False, False]


def test_smoothed_counts_are_those_of_a_second_hand():
    train, test = np.array([0, 1, 0, 1, 0]), np.array([0, 1])
    assert uniform_loss(7) == pytest.approx(math.log(7))
    assert unigram_loss(train, test, 2) == pytest.approx(-(math.log(4 / 7) + math.log(3 / 7)) / 2)
    assert bigram_loss(train, test, 2) == pytest.approx(-math.log(3 / 4))


def test_each_rung_knows_what_the_one_below_knows():
    """Where each character depends on the one before, the bigram comes near the chain's entropy, and the unigram near that of the shares."""
    rng = np.random.default_rng(0)
    chain = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    ids = [0]
    for draw in rng.random(40_000):
        ids.append(int((draw > chain[ids[-1]].cumsum()).sum()))
    train, test = np.array(ids[:20_000]), np.array(ids[20_000:])
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.1))
    assert bigram_loss(train, test, 3) == pytest.approx(entropy, abs=0.02)
    assert unigram_loss(train, test, 3) == pytest.approx(math.log(3), abs=0.01)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_text_read_in_parts_has_the_loss_of_the_whole(kind):
    torch.manual_seed(0)
    model, ids = CharModel(9, 4, 6, kind), torch.randint(9, (1, 6000))
    with torch.no_grad():
        _, whole, _ = model(ids[:, :-1], ids[:, 1:])
    assert held_out_loss(model, ids[0]) == pytest.approx(whole.item(), rel=1e-5)


def test_a_fresh_model_is_about_as_surprised_as_one_that_knows_nothing():
    torch.manual_seed(0)
    _, loss, _ = CharModel(50, 8, 16)(*torch.randint(50, (2, 4, 100)))
    assert loss.item() == pytest.approx(math.log(50), abs=0.1)


def test_a_sample_is_repeatable_starts_as_told_and_never_holds_the_unknown_character():
    torch.manual_seed(0)
    alphabet = Alphabet.of("abc")
    model = CharModel(len(alphabet), 4, 6)
    first, second, other = (sample(model, alphabet, "ab", 200, seed=seed) for seed in (0, 0, 1))
    assert first == second != other
    assert len(first) == 202 and first.startswith("ab") and UNKNOWN not in first


def test_a_low_temperature_takes_the_likeliest_character_nearly_always():
    torch.manual_seed(0)
    alphabet = Alphabet.of("abcdef")
    model = CharModel(len(alphabet), 4, 6)
    cold = sample(model, alphabet, "a", 40, temperature=1e-4)
    state, ids, wanted = None, torch.from_numpy(alphabet.encode("a"))[None], "a"
    for _ in range(40):
        with torch.no_grad():
            logits, _, state = model(ids, None, state)
        ids = logits[:, -1:, :-1].argmax(-1)
        wanted += alphabet.decode(ids[0])
    assert cold == wanted
