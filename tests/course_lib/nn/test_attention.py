"""course_lib.nn.attention against torch, and the properties that the formula promises."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from course_lib.nn.attention.masks import causal_mask, hidden, padding_mask
from course_lib.nn.attention.multihead import AttentionConfig, MultiHeadAttention, from_torch, merge_heads, split_heads
from course_lib.nn.attention.scaled import attention, attention_weights, fused_attention, masked_softmax
from course_lib.nn.attention.scores import AdditiveScores, additive_scores, dot_scores
from course_lib.nn.attention.streaming import absorb, nothing_yet, streamed_attention

SIZES = st.integers(1, 7)


def drawn(seed: int, *shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def qkv(seed: int, num_queries: int = 5, num_keys: int = 6, lead: tuple[int, ...] = (2, 3), dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return drawn(seed, (*lead, num_queries, 8), (*lead, num_keys, 8), (*lead, num_keys, 4), dtype=dtype)


def random_mask(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def slopes(work, inputs):
    leaves = [each.clone().requires_grad_() for each in inputs]
    output = work(*leaves)
    weighing = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return torch.autograd.grad((output * weighing).sum(), leaves)


# scores


def test_a_dot_score_is_that_of_each_pair_alone_over_the_root_of_the_width():
    query, key, _ = qkv(0, lead=())
    expected = torch.tensor([[float(q @ k) / math.sqrt(8) for k in key] for q in query], dtype=torch.float64)
    torch.testing.assert_close(dot_scores(query, key), expected)
    torch.testing.assert_close(dot_scores(query, key, scaled=False), expected * math.sqrt(8))


def test_scores_of_unequal_widths_are_refused():
    with pytest.raises(ValueError, match="width 3 and keys 4"):
        dot_scores(torch.zeros(2, 3), torch.zeros(2, 4))


@pytest.mark.parametrize("width", [16, 64, 256])
def test_the_root_keeps_the_spread_of_scores_at_1_and_without_it_it_is_the_root_of_the_width(width):
    query, key = drawn(width, (400, width), (400, width))
    assert dot_scores(query, key).std().item() == pytest.approx(1, rel=0.03)
    assert dot_scores(query, key, scaled=False).std().item() == pytest.approx(math.sqrt(width), rel=0.03)


def test_an_additive_score_is_that_of_each_pair_alone():
    query, key, w_query, w_key, v = drawn(0, (2, 3, 5), (2, 4, 6), (5, 7), (6, 7), (7,))
    found = additive_scores(query, key, w_query, w_key, v)
    for b, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(4)).tolist():
        torch.testing.assert_close(found[b, i, j], torch.tanh(query[b, i] @ w_query + key[b, j] @ w_key) @ v)


def test_the_additive_module_is_the_function_with_its_own_weights():
    torch.manual_seed(0)
    module = AdditiveScores(5, 6, 7)
    query, key = torch.randn(2, 3, 5), torch.randn(2, 4, 6)
    expected = module.out(torch.tanh(module.query(query)[:, :, None] + module.key(key)[:, None]))[..., 0]
    torch.testing.assert_close(module(query, key), expected)
    assert sum(p.numel() for p in module.parameters()) == 5 * 7 + 6 * 7 + 7


# masks


@given(num_queries=SIZES, num_keys=SIZES)
def test_a_causal_mask_lets_query_i_see_the_keys_up_to_its_place_among_the_last(num_queries, num_keys):
    mask = causal_mask(num_queries, num_keys)
    assert mask.tolist() == [[j <= i + num_keys - num_queries for j in range(num_keys)] for i in range(num_queries)]


def test_torchs_is_causal_is_another_mask_when_queries_are_fewer_than_keys():
    query, key, value = qkv(0, num_queries=2, num_keys=5)
    theirs = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(theirs, attention(query, key, value, torch.ones(2, 5, dtype=torch.bool).tril()))
    assert (theirs - attention(query, key, value, causal_mask(2, 5))).abs().max() > 0.01


def test_a_padding_mask_shows_the_first_keys_of_each_row():
    assert padding_mask(torch.tensor([2, 0, 3]), 3)[:, 0, 0].tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_a_padded_sentence_in_a_batch_is_answered_as_it_is_alone():
    query, key, value = qkv(0, lead=(2, 3))
    together = attention(query, key, value, padding_mask(torch.tensor([4, 6]), 6))
    torch.testing.assert_close(together[0], attention(query[0], key[0, :, :4], value[0, :, :4]))


def test_masks_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="-1 queries"):
        causal_mask(-1, 3)
    with pytest.raises(ValueError, match="between 0 and 3"):
        padding_mask(torch.tensor([4]), 3)
    with pytest.raises(ValueError, match="float32"):
        hidden(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="wanted a mask of True"):
        attention(*qkv(0), mask=torch.zeros(5, 6))
    with pytest.raises(ValueError, match="wanted a mask of True"):
        fused_attention(*qkv(0), mask=torch.zeros(5, 6))


# the formula, against torch's kernel


@pytest.mark.parametrize("work", [attention, fused_attention], ids=["spelt out", "fused"])
@pytest.mark.parametrize("masked", ["not", "full", "padding", "causal"])
def test_values_and_slopes_are_those_of_torchs_kernel(work, masked):
    inputs = qkv(1, dtype=torch.float32)
    mask = {
        "not": None,
        "full": random_mask(0, 2, 3, 5, 6) | torch.eye(5, 6).bool(),
        "padding": padding_mask(torch.tensor([4, 6]), 6),
        "causal": causal_mask(5, 6),
    }[masked]
    torch.testing.assert_close(work(*inputs, mask), F.scaled_dot_product_attention(*inputs, attn_mask=mask), rtol=1e-5, atol=1e-6)
    theirs = slopes(lambda *qkv: F.scaled_dot_product_attention(*qkv, attn_mask=mask), inputs)
    for ours, other in zip(slopes(lambda *qkv: work(*qkv, mask), inputs), theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 10**6), num_queries=SIZES, num_keys=SIZES)
@settings(max_examples=60)
def test_spelt_out_and_fused_agree_whatever_the_mask_and_causal_or_not(seed, num_queries, num_keys):
    query, key, value = qkv(seed, num_queries, num_keys)
    mask = random_mask(seed, 2, 1, num_queries, num_keys)
    torch.testing.assert_close(fused_attention(query, key, value, mask), attention(query, key, value, mask))
    both = mask & causal_mask(num_queries, num_keys)
    torch.testing.assert_close(fused_attention(query, key, value, mask, causal=True), attention(query, key, value, both))
    torch.testing.assert_close(fused_attention(query, key, value, causal=True), attention(query, key, value, causal_mask(num_queries, num_keys)))


@pytest.mark.parametrize("work", [attention, fused_attention], ids=["spelt out", "fused"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_query_with_nothing_to_attend_to_gets_zeros_and_zero_slopes_and_spoils_nobody_elses(work, dtype):
    inputs = qkv(2, dtype=dtype)
    mask = causal_mask(5, 6).expand(2, 3, 5, 6).clone()
    mask[0, 1, 3] = False
    output = work(*inputs, mask)
    assert not output[0, 1, 3].any()
    found = slopes(lambda *qkv: work(*qkv, mask), inputs)
    assert all(torch.isfinite(each).all() for each in (output, *found))
    assert not found[0][0, 1, 3].any()
    rest = torch.ones(2, 3, 5, dtype=torch.bool)
    rest[0, 1, 3] = False
    whole = slopes(lambda *qkv: work(*qkv, causal_mask(5, 6)), inputs)
    torch.testing.assert_close(found[0][rest], whole[0][rest])


@pytest.mark.parametrize("work", [attention, fused_attention], ids=["spelt out", "fused"])
def test_a_batch_with_nothing_to_attend_to_at_all_gives_zeros(work):
    inputs = qkv(3, dtype=torch.float32)
    mask = torch.zeros(5, 6, dtype=torch.bool)
    assert not work(*inputs, mask).any()
    assert not any(each.any() for each in slopes(lambda *qkv: work(*qkv, mask), inputs))


def test_masked_softmax_in_float64_passes_torchs_gradient_check_with_an_empty_row():
    mask = random_mask(1, 4, 5)
    mask[2] = False
    scores = drawn(4, (4, 5))[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: masked_softmax(scores, mask), scores)


@given(seed=st.integers(0, 10**6))
def test_every_row_of_weights_adds_up_to_1_or_to_0_where_it_is_empty(seed):
    query, key, _ = qkv(seed)
    mask = random_mask(seed, 2, 3, 5, 6)
    weights = attention_weights(query, key, mask)
    torch.testing.assert_close(weights.sum(-1), mask.any(-1).double())
    assert not weights[~mask].any() and (weights >= 0).all()


# what attention does not see


@given(seed=st.integers(0, 10**6), order=st.permutations(range(6)))
def test_shuffled_keys_and_values_change_nothing_and_shuffled_queries_shuffle_the_output(seed, order):
    query, key, value = qkv(seed, num_queries=6)
    expected = attention(query, key, value)
    torch.testing.assert_close(attention(query, key[..., order, :], value[..., order, :]), expected)
    torch.testing.assert_close(attention(query[..., order, :], key, value), expected[..., order, :])


@given(seed=st.integers(0, 1000), order=st.permutations(range(6)))
@settings(max_examples=30)
def test_self_attention_is_permutation_equivariant_and_with_a_causal_mask_it_is_not(seed, order):
    torch.manual_seed(seed)
    module = MultiHeadAttention(AttentionConfig(12, 3)).double()
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])
    if order != list(range(6)):
        assert not torch.allclose(module(x[:, order], causal=True), module(x, causal=True)[:, order])


@given(seed=st.integers(0, 10**6), place=st.integers(0, 5))
def test_with_a_causal_mask_a_later_token_changes_nothing_earlier(seed, place):
    query, key, value = qkv(seed, num_queries=6)
    changed = [each.clone() for each in (query, key, value)]
    for each in changed:
        each[..., place, :] += 1
    before, after = (attention(*each, mask=causal_mask(6)) for each in ((query, key, value), changed))
    assert torch.equal(before[..., :place, :], after[..., :place, :])


# heads


@given(heads=st.sampled_from([1, 2, 3, 6]))
def test_merging_undoes_splitting_and_each_head_holds_its_slice_of_every_token(heads):
    x = torch.randn(2, 5, 6)
    split = split_heads(x, heads)
    assert torch.equal(merge_heads(split), x)
    for head, part in enumerate(x.split(6 // heads, dim=-1)):
        assert torch.equal(split[:, head], part)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 8])
def test_multi_head_attention_is_torchs_with_copied_weights_in_values_and_slopes(heads, bias):
    torch.manual_seed(heads)
    theirs = nn.MultiheadAttention(16, heads, bias=bias, batch_first=True)
    if bias:
        nn.init.normal_(theirs.in_proj_bias)
        nn.init.normal_(theirs.out_proj.bias)
    ours = from_torch(theirs)
    x, context = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    pad = padding_mask(torch.tensor([4, 7]), 7)
    mask = pad & causal_mask(5, 7)
    expected, weights = theirs(
        x, context, context, attn_mask=hidden(causal_mask(5, 7)), key_padding_mask=hidden(pad[:, 0, 0]), average_attn_weights=False
    )
    found = ours(x, context, mask)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.weights(x, context, mask), weights, rtol=1e-5, atol=1e-6)
    found.square().sum().backward()
    expected.square().sum().backward()
    stacked = torch.cat([layer.weight.grad for layer in (ours.query, ours.key, ours.value)])
    torch.testing.assert_close(stacked, theirs.in_proj_weight.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.output.weight.grad, theirs.out_proj.weight.grad, rtol=1e-4, atol=1e-5)


def test_new_tokens_after_old_ones_are_answered_as_in_one_pass():
    torch.manual_seed(0)
    module = MultiHeadAttention(AttentionConfig(8, 2))
    x = torch.randn(2, 7, 8)
    pieces = [module(x[:, start:end], x[:, :end], causal=True) for start, end in ((0, 3), (3, 4), (4, 7))]
    torch.testing.assert_close(torch.cat(pieces, dim=1), module(x, causal=True))


def test_a_width_that_the_heads_cannot_share_is_refused_and_so_is_a_torch_module_that_does_more():
    with pytest.raises(ValueError, match="width 30 is not a multiple of num_heads 4"):
        AttentionConfig(30, 4)
    with pytest.raises(ValueError, match="at least 1"):
        AttentionConfig(8, 0)
    with pytest.raises(ValueError, match="without dropout"):
        from_torch(nn.MultiheadAttention(8, 2, dropout=0.1))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_number_of_parameters_does_not_depend_on_the_number_of_heads(heads):
    assert sum(p.numel() for p in MultiHeadAttention(AttentionConfig(64, heads)).parameters()) == 4 * (64 * 64 + 64)


# in blocks


@given(seed=st.integers(0, 10**6), num_keys=st.integers(1, 20), block=st.integers(1, 25))
def test_attention_in_blocks_is_attention_however_the_keys_are_cut(seed, num_keys, block):
    query, key, value = qkv(seed, 4, num_keys)
    torch.testing.assert_close(streamed_attention(3 * query, key, value, block), attention(3 * query, key, value))


def test_blocks_of_huge_scores_stay_finite_and_the_state_says_what_it_says():
    query, key, value = qkv(5, 4, 9, lead=())
    state = nothing_yet(query, 4)
    for part in (slice(0, 2), slice(2, 9)):
        state = absorb(state, 1e4 * query, key[part], value[part])
    scores = dot_scores(1e4 * query, key)
    torch.testing.assert_close(state.maximum, scores.amax(-1))
    torch.testing.assert_close(state.total, torch.exp(scores - scores.amax(-1, keepdim=True)).sum(-1))
    torch.testing.assert_close(state.mixed / state.total[:, None], attention(1e4 * query, key, value))


def test_blocks_pass_torchs_gradient_check():
    query, key, value = (each.requires_grad_() for each in qkv(6, 2, 5, lead=()))
    assert torch.autograd.gradcheck(lambda *qkv: streamed_attention(*qkv, 2), (query, key, value))


def test_a_block_without_keys_is_refused():
    with pytest.raises(ValueError, match="at least 1, was given 0"):
        streamed_attention(*qkv(0), 0)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_both_ways_agree_and_an_empty_row_is_harmless(dtype):
    inputs = [each.cuda() for each in qkv(2, dtype=dtype)]
    mask = causal_mask(5, 6, device="cuda").expand(2, 3, 5, 6).clone()
    mask[0, 1, 3] = False
    loose = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(fused_attention(*inputs, mask), attention(*inputs, mask), **loose)
    for work in (attention, fused_attention):
        assert not work(*inputs, mask)[0, 1, 3].any()
        assert all(torch.isfinite(each).all() for each in slopes(lambda *qkv, work=work: work(*qkv, mask).float().cpu(), inputs))
