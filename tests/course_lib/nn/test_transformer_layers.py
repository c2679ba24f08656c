"""course_lib.nn.transformer: layers and the whole, held against torch's with the same weights, in values and in gradients."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.nn.attention.masks import causal_mask
from course_lib.nn.transformer.attention import MultiHeadAttention, recorded
from course_lib.nn.transformer.decoder import Decoder
from course_lib.nn.transformer.encoder import Encoder, EncoderLayer, LayerConfig
from course_lib.nn.transformer.masks import make_masks, padding_mask
from course_lib.nn.transformer.model import Transformer, TransformerConfig
from course_lib.nn.transformer.positions import LearnedPositions, sinusoidal_positions

CONFIGS = [LayerConfig(width=16, num_heads=heads, hidden=24, norm=norm) for heads, norm in itertools.product((1, 4), ("pre", "post"))]
ids = [f"{config.num_heads} heads, {config.norm}-norm" for config in CONFIGS]


def draw(module: nn.Module, seed: int = 0) -> nn.Module:
    """Parameters away from their special starting values, such as biases of 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in module.parameters():
            param.add_(0.2 * torch.randn(param.shape, generator=generator))
    return module


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients(module: nn.Module, output: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of a sum of the output's numbers with fixed weights, with respect to every parameter."""
    module.zero_grad()
    (output * numbers(*output.shape, seed=9)).sum().backward()
    return {name: param.grad.clone() for name, param in module.named_parameters() if param.grad is not None}


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_the_encoder_equals_torchs_in_values_and_gradients(config):
    ours = draw(Encoder(config, 3))
    layer = nn.TransformerEncoderLayer(16, config.num_heads, 24, 0.0, batch_first=True, norm_first=config.norm == "pre")
    theirs = nn.TransformerEncoder(layer, 3, nn.LayerNorm(16), enable_nested_tensor=False)
    theirs.load_state_dict(ours.state_dict())
    x, real = numbers(3, 6, 16), torch.tensor([[1] * 6, [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0]]).bool()
    one, other = ours(x, real[:, None, :]), theirs(x, src_key_padding_mask=~real)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    for name, grad in gradients(theirs, other).items():
        torch.testing.assert_close(gradients(ours, ours(x, real[:, None, :]))[name], grad, atol=2e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("config", CONFIGS, ids=ids)
def test_the_decoder_equals_torchs_in_values_and_gradients(config):
    ours = draw(Decoder(config, 2))
    layer = nn.TransformerDecoderLayer(16, config.num_heads, 24, 0.0, batch_first=True, norm_first=config.norm == "pre")
    theirs = nn.TransformerDecoder(layer, 2, nn.LayerNorm(16))
    theirs.load_state_dict(ours.state_dict())
    y, memory, real = numbers(2, 5, 16), numbers(2, 7, 16, seed=2), torch.tensor([[1] * 7, [1, 1, 1, 0, 0, 0, 0]]).bool()
    one = ours(y, memory, causal_mask(5), real[:, None, :])
    other = theirs(y, memory, tgt_mask=~causal_mask(5), memory_key_padding_mask=~real)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    mine = gradients(ours, one)
    for name, grad in gradients(theirs, other).items():
        torch.testing.assert_close(mine[name], grad, atol=2e-4, rtol=1e-4, msg=name)


def test_in_float64_every_gradient_equals_torchs_to_1e_10():
    ours = draw(Encoder(CONFIGS[2], 2)).double()
    theirs = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 4, 24, 0.0, batch_first=True, norm_first=True), 2, nn.LayerNorm(16), enable_nested_tensor=False
    ).double()
    theirs.load_state_dict(ours.state_dict())
    x = numbers(3, 6, 16).double()
    mine, torchs = gradients(ours, ours(x)), gradients(theirs, theirs(x))
    assert max((mine[name] - grad).abs().max().item() for name, grad in torchs.items()) < 1e-10


def test_the_whole_equals_nn_transformer_between_embeddings_and_output():
    config = TransformerConfig(20, 15, LayerConfig(width=16, num_heads=4, hidden=24), num_layers=2)
    ours = draw(Transformer(config))
    theirs = nn.Transformer(16, 4, 2, 2, 24, 0.0, batch_first=True, norm_first=True)
    theirs.load_state_dict({name: value for name, value in ours.state_dict().items() if name.startswith(("encoder", "decoder"))})
    source, target = torch.tensor([[5, 6, 7, 8], [9, 4, 0, 0]]), torch.tensor([[1, 3, 4], [1, 7, 0]])
    x, y = ours._embed(ours.source_embedding, source), ours._embed(ours.target_embedding, target)
    left_out = source == 0
    y = theirs(x, y, tgt_mask=~causal_mask(3), src_key_padding_mask=left_out, memory_key_padding_mask=left_out, tgt_key_padding_mask=target == 0)
    wanted = ours.output(y)
    torch.testing.assert_close(ours(source, target)[0], wanted, atol=1e-5, rtol=1e-5)


def test_attention_equals_torchs_and_its_weights_are_those_that_it_uses():
    ours, theirs = draw(MultiHeadAttention(16, 4)), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    queries, memory, mask = numbers(2, 3, 16), numbers(2, 5, 16, seed=2), torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0)) > 0.3
    mask[:, :, 0] = True
    with recorded([ours]) as weights:
        found = ours(queries, memory, mask=mask)
    wanted, told = theirs(queries, memory, memory, attn_mask=~mask.repeat_interleave(4, 0), average_attn_weights=False)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weights[0], told, atol=1e-6, rtol=1e-5)
    assert not ours._forward_hooks


@settings(max_examples=20)
@given(st.permutations(range(5)))
def test_without_positions_an_encoder_layer_permutes_its_answer_with_its_input(order):
    layer, x = draw(EncoderLayer(CONFIGS[2])), numbers(2, 5, 16)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], atol=1e-5, rtol=1e-4)


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(0, 100))
def test_what_is_written_later_changes_no_earlier_logit(place, seed):
    model = Transformer(TransformerConfig(20, 15, CONFIGS[1]))
    generator = torch.Generator().manual_seed(seed)
    source, target = (torch.randint(3, 15, (2, length), generator=generator) for length in (5, 7))
    other = torch.cat([target[:, :place], torch.randint(3, 15, (2, 7 - place), generator=generator)], 1)
    torch.testing.assert_close(model(source, target)[0][:, :place], model(source, other)[0][:, :place], atol=1e-5, rtol=1e-4)


def test_padding_of_source_and_target_changes_no_logit_and_no_loss():
    model = draw(Transformer(TransformerConfig(20, 15, CONFIGS[2])))
    source, target, labels = torch.tensor([[5, 6, 7]]), torch.tensor([[1, 8]]), torch.tensor([[8, 2]])
    longer = [torch.cat([part, torch.zeros(1, 3, dtype=torch.long)], 1) for part in (source, target, labels)]
    (short, loss), (padded, padded_loss) = model(source, target, labels, 0.1), model(*longer, 0.1)
    torch.testing.assert_close(padded[:, :2], short, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(padded_loss, loss)


def test_dropout_works_in_training_and_is_off_in_use():
    layer, x = EncoderLayer(LayerConfig(16, 4, 24, dropout=0.5)), numbers(2, 5, 16)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_rows_of_waves_turn_by_an_angle_that_depends_on_the_distance_alone():
    table = sinusoidal_positions(60, 32).double()
    near = table @ table.T
    for distance in (0, 1, 7, 30):
        along = near.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=0)
    torch.testing.assert_close(near.diagonal(), torch.full((60,), 16.0, dtype=torch.float64), atol=1e-4, rtol=0)


def test_learned_places_end_where_the_table_ends():
    places = LearnedPositions(4, 8)
    x = torch.zeros(2, 3, 8)
    torch.testing.assert_close(places(x), places.weight[:3].expand(2, 3, 8))
    with pytest.raises(ValueError, match="5 tokens are more than the 4 places"):
        places(torch.zeros(1, 5, 8))


def test_masks_say_who_may_attend():
    source_mask, target_mask = make_masks(torch.tensor([[5, 6, 0]]), torch.tensor([[1, 7, 0]]), pad=0)
    assert source_mask.tolist() == [[[True, True, False]]] == padding_mask(torch.tensor([[5, 6, 0]]), 0).tolist()
    assert target_mask.tolist() == [[[True, False, False], [True, True, False], [True, True, False]]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MultiHeadAttention(30, 4), "width 30 is not a multiple of num_heads 4"),
        (lambda: LayerConfig(norm="middle"), "norm must be 'pre' or 'post', got 'middle'"),  # type: ignore[arg-type]
        (lambda: LayerConfig(dropout=1.0), "dropout from 0 to less than 1"),
        (lambda: sinusoidal_positions(4, 7), "an even width"),
        (lambda: TransformerConfig(0, 3), "sizes of at least 1"),
        (lambda: Transformer(TransformerConfig(9, 9, max_len=4)).encode(torch.ones(1, 5, dtype=torch.long)), "5 tokens are more than max_len 4"),
    ],
)
def test_an_error_says_what_was_given_and_what_was_wanted(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.gpu
def test_the_model_gives_the_same_logits_on_a_gpu():
    model = draw(Transformer(TransformerConfig(20, 15, CONFIGS[2]))).eval()
    source, target = torch.tensor([[5, 6, 7, 0]]), torch.tensor([[1, 8, 9]])
    here = model(source, target)[0].detach()
    there = model.cuda()(source.cuda(), target.cuda())[0].detach().cpu()
    torch.testing.assert_close(there, here, atol=1e-3, rtol=1e-3)
