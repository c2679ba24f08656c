"""course_lib.nn.transformer: loss, learning rate and decoding against torch, against brute force and against each other."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from course_lib.nn.transformer.chains import chain_step, history_step
from course_lib.nn.transformer.decoding import beam_search, greedy, until
from course_lib.nn.transformer.schedule import transformer_rate
from course_lib.nn.transformer.smoothing import smoothed_loss
from course_lib.scratch.schedules import warmup_inverse_sqrt

BOS, EOS = 1, 2


def table(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0, 1), st.integers(2, 9))
def test_label_smoothing_equals_torchs_in_value_and_gradient(seed, smoothing, vocab):
    logits = (3 * table(seed, 3, 4, vocab)).requires_grad_()
    labels = torch.randint(vocab, (3, 4), generator=torch.Generator().manual_seed(seed))
    labels[0, 0] = 1
    ours = smoothed_loss(logits, labels, smoothing, pad=0)
    theirs = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing, ignore_index=0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(ours, logits)[0], torch.autograd.grad(theirs, logits)[0], atol=1e-6, rtol=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 5000), st.integers(1, 600), st.integers(1, 900))
def test_the_papers_rate_is_the_warm_up_of_chapter_04_with_its_own_peak(step, width, warmup):
    assert transformer_rate(step, width, warmup) == pytest.approx(warmup_inverse_sqrt(step, warmup=warmup, peak=(width * warmup) ** -0.5))


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_a_beam_of_one_is_greedy(seed):
    memory = table(seed, 1, 6, 5, 5)
    tokens, score = beam_search(history_step, memory, width=1, bos=BOS, eos=EOS, max_len=6)
    assert [tokens] == greedy(history_step, memory, bos=BOS, eos=EOS, max_len=6)
    assert score == pytest.approx(log_prob(memory, tokens, 6), abs=1e-4)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.7, 1.0]))
def test_a_wide_beam_finds_the_best_of_all_sentences(seed, alpha):
    memory = table(seed, 1, 3, 4, 4)
    sentences = [s for n in range(4) for s in itertools.product((0, 1, 3), repeat=n)]
    best = max(log_prob(memory, list(s), 3) / (len(s) + (len(s) < 3)) ** alpha for s in sentences)
    tokens, score = beam_search(history_step, memory, width=200, bos=BOS, eos=EOS, max_len=3, alpha=alpha)
    assert score == pytest.approx(best, abs=1e-4)
    assert score == pytest.approx(log_prob(memory, tokens, 3) / (len(tokens) + (len(tokens) < 3)) ** alpha, abs=1e-4)


def log_prob(memory: torch.Tensor, tokens: list[int], max_len: int) -> float:
    """Of a sentence with its end token; one of max_len tokens is cut off before it."""
    total, prefix = 0.0, [BOS]
    for token in [*tokens, EOS][:max_len]:
        total += history_step(memory, torch.tensor([prefix])).log_softmax(-1)[0, token].item()
        prefix.append(token)
    return total


def test_greedy_rows_do_not_disturb_each_other():
    memory = table(0, 8, 6, 5, 5)
    together = greedy(history_step, memory, bos=BOS, eos=EOS, max_len=6)
    assert together == [greedy(history_step, row[None], bos=BOS, eos=EOS, max_len=6)[0] for row in memory]
    assert len({len(row) for row in together}) > 1


def test_beam_search_beats_greedy_where_the_first_step_misleads():
    probabilities = torch.full((1, 5, 5), 1e-9)
    probabilities[0, 1, 3], probabilities[0, 1, 4] = 0.6, 0.4
    probabilities[0, 3, 2], probabilities[0, 3, 3], probabilities[0, 4, 2] = 0.5, 0.5, 1.0
    assert greedy(chain_step, probabilities.log(), bos=BOS, eos=EOS, max_len=5)[0][0] == 3
    tokens, score = beam_search(chain_step, probabilities.log(), width=2, bos=BOS, eos=EOS, max_len=5)
    assert tokens == [4] and score == pytest.approx(math.log(0.4), abs=1e-4)


def test_a_chain_reads_the_last_token_and_a_history_all_of_them():
    memory, prefix, other = table(0, 1, 5, 5), torch.tensor([[1, 3, 4]]), torch.tensor([[2, 0, 4]])
    torch.testing.assert_close(chain_step(memory, prefix), memory[:, 4])
    torch.testing.assert_close(chain_step(memory, prefix), chain_step(memory, other))
    deep = table(0, 1, 3, 5, 5)
    torch.testing.assert_close(history_step(deep, prefix)[0], deep[0, 0, 1] + deep[0, 1, 3] + deep[0, 2, 4])
    assert not torch.allclose(history_step(deep, prefix), history_step(deep, other))
    with pytest.raises(ValueError, match="4 tokens are more than the 3"):
        history_step(deep, torch.ones(1, 4, dtype=torch.long))


def test_a_sentence_ends_before_its_first_end():
    assert [until(row, EOS) for row in ([3, 2, 4, 2], [2], [3, 4])] == [[3], [], [3, 4]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: smoothed_loss(torch.zeros(1, 1, 3), torch.ones(1, 1, dtype=torch.long), 1.5), "between 0 and 1, got 1.5"),
        (lambda: transformer_rate(-1, 8, 4), "was given -1, 8 and 4"),
        (lambda: beam_search(chain_step, torch.zeros(2, 3, 3), width=1, bos=1, eos=2, max_len=3), "memory of 1 source"),
    ],
)
def test_an_error_says_what_was_given_and_what_was_wanted(call, words):
    with pytest.raises(ValueError, match=words):
        call()
