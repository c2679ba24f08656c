"""course_lib.scale.counting: every count is that of torch's modules and of Hugging Face's models, built without weights."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.scale import counting
from course_lib.scale.models import (
    BERT_BASE,
    BERT_LARGE,
    GPT2,
    GPT2_LARGE,
    GPT2_MEDIUM,
    GPT2_XL,
    GPT3,
    LLAMA_7B,
    MISTRAL_7B,
    SHAPES,
    TransformerShape,
)

small = st.integers(1, 24)


def reported(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@given(st.lists(small, min_size=2, max_size=6), st.booleans())
def test_a_chain_of_affine_layers_has_the_parameters_of_torchs_linear_modules(sizes, bias):
    with torch.device("meta"):
        chain = torch.nn.Sequential(*(torch.nn.Linear(*pair, bias=bias) for pair in itertools.pairwise(sizes)))
    assert counting.mlp_params(sizes, bias) == reported(chain)


@given(small, small, st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.booleans())
def test_a_convolution_has_the_parameters_of_torchs(in_groups, out_groups, groups, height, width, bias):
    inputs, outputs = in_groups * groups, out_groups * groups
    with torch.device("meta"):
        module = torch.nn.Conv2d(inputs, outputs, (height, width), groups=groups, bias=bias)
    assert counting.conv2d_params(inputs, outputs, (height, width), groups, bias) == reported(module)
    if height == width:
        assert counting.conv2d_params(inputs, outputs, height, groups, bias) == reported(module)


@given(small, small, st.integers(1, 3), st.booleans(), st.booleans())
def test_an_lstm_has_the_parameters_of_torchs(inputs, hidden, layers, bidirectional, bias):
    with torch.device("meta"):
        module = torch.nn.LSTM(inputs, hidden, layers, bias=bias, bidirectional=bidirectional)
    assert counting.lstm_params(inputs, hidden, layers, bidirectional, bias) == reported(module)


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 64))
def test_a_block_has_the_parameters_of_torchs_encoder_layer_whatever_its_heads(head_width, heads, hidden):
    with torch.device("meta"):
        module = torch.nn.TransformerEncoderLayer(head_width * heads, heads, hidden)
    assert counting.block_params(head_width * heads, hidden) == reported(module)


def hugging_face(shape: TransformerShape) -> int:
    """The count of the library's own model of this shape, on the meta device."""
    transformers = pytest.importorskip("transformers")
    common = {"vocab_size": shape.vocabulary}
    if shape.family == "bert":
        config = transformers.BertConfig(
            **common,
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.hidden,
            max_position_embeddings=shape.positions,
            type_vocab_size=shape.segments,
        )
        make = transformers.BertModel
    elif shape.family == "gpt2":
        config = transformers.GPT2Config(
            **common, n_positions=shape.positions, n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, n_inner=shape.hidden
        )
        make = transformers.GPT2LMHeadModel
    else:
        sizes = {
            "hidden_size": shape.width,
            "intermediate_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads or shape.heads,
            "tie_word_embeddings": False,
        }
        config = transformers.LlamaConfig(**common, **sizes, max_position_embeddings=shape.positions)
        make = transformers.LlamaForCausalLM
    with torch.device("meta"):
        return reported(make(config))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_model_has_the_parameters_that_hugging_face_reports_for_its_configuration(shape):
    assert counting.transformer_params(shape) == hugging_face(shape)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_a_model_of_odd_sizes_has_the_parameters_that_hugging_face_reports(family):
    shape = TransformerShape("odd", family, vocabulary=101, positions=37, width=24, hidden=31, layers=5, heads=6, segments=3)
    assert counting.transformer_params(shape) == hugging_face(shape)
    if family == "llama":
        shared = dataclasses.replace(shape, kv_heads=2)
        assert counting.transformer_params(shared) == hugging_face(shared) < counting.transformer_params(shape)


def test_resnet_50_has_the_parameters_that_hugging_face_reports():
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(num_labels=1000)
    with torch.device("meta"):
        assert counting.resnet50_params() == reported(transformers.ResNetForImageClassification(config))


@pytest.mark.parametrize(
    ("shape", "published"),
    [
        (BERT_BASE, 109_482_240),
        (BERT_LARGE, 335_141_888),
        (GPT2, 124_439_808),
        (GPT2_MEDIUM, 354_823_168),
        (GPT2_LARGE, 774_030_080),
        (GPT2_XL, 1_557_611_200),
        (LLAMA_7B, 6_738_415_616),
        (MISTRAL_7B, 7_241_732_096),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_well_known_models_have_their_well_known_counts(shape, published):
    assert counting.transformer_params(shape) == published


def test_gpt3_has_175_billion():
    assert round(counting.transformer_params(GPT3) / 1e9) == 175


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: counting.mlp_params([5]), r"at least an input and an output.*got \(5,\)"),
        (lambda: counting.mlp_params([5, 0]), r"got \(5, 0\)"),
        (lambda: counting.conv2d_params(3, 4, 1, groups=2), "in_channels 3 and out_channels 4 must be multiples of groups 2"),
        (lambda: dataclasses.replace(GPT2, heads=7), "width 768 is not a multiple of heads 7"),
        (lambda: dataclasses.replace(LLAMA_7B, kv_heads=5), "heads 32 is not a multiple of kv_heads 5"),
        (lambda: dataclasses.replace(GPT2, kv_heads=4), "only the llama family.*kv_heads 4 for gpt2"),
        (lambda: dataclasses.replace(GPT2, family="gpt9"), "must be 'bert', 'gpt2' or 'llama', got 'gpt9'"),
    ],
)
def test_errors_say_what_was_given(make, message):
    with pytest.raises(ValueError, match=message):
        make()
