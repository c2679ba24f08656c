"""course_lib.scale.memory: the bytes are those that torch really keeps."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from course_lib.scale import memory
from course_lib.scale.models import GPT2, TransformerShape

SHAPE = TransformerShape("small", "gpt2", vocabulary=50, positions=64, width=128, hidden=512, layers=3, heads=4)


def dropout(x: torch.Tensor) -> torch.Tensor:
    """With a mask of one byte, as on a GPU; F.dropout on a CPU keeps one of the type of x."""
    return torch.native_dropout(x, 0.1, True)[0]


class Block(torch.nn.Module):
    """GPT-2's block with its dropouts, written out, so that autograd keeps what the formula lists."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (torch.nn.Linear(width, width) for _ in range(4))
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, context, width = x.shape
        normed = self.norm1(x)
        query, key, value = (
            layer(normed).view(batch, context, self.heads, width // self.heads).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)  # (B, A, T, T)
        mixed = dropout(scores.softmax(-1)) @ value
        x = x + dropout(self.out(mixed.transpose(1, 2).reshape(batch, context, width)))
        return x + dropout(self.down(F.gelu(self.up(self.norm2(x)))))


def kept_bytes(module: torch.nn.Module, x: torch.Tensor) -> int:
    """What autograd keeps of a forward pass, each piece of storage once, parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    seen: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x)
    return sum(seen.values())


@pytest.mark.parametrize(("batch", "context", "width", "heads"), [(2, 64, 128, 4), (1, 256, 128, 8), (3, 32, 256, 2)])
def test_a_block_keeps_the_activations_that_the_formula_lists(batch, context, width, heads):
    torch.manual_seed(0)
    block = Block(width, heads).bfloat16()
    kept = kept_bytes(block, torch.randn(batch, context, width, dtype=torch.bfloat16, requires_grad=True))
    assert memory.block_activation_bytes(batch, context, width, heads) == pytest.approx(kept, rel=0.01)


@pytest.mark.parametrize(
    ("recipe", "make"),
    [
        (memory.SGD_32, lambda params: torch.optim.SGD(params, lr=0.1)),
        (memory.MOMENTUM_32, lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9)),
        (memory.ADAM_32, lambda params: torch.optim.Adam(params, lr=0.1)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_optimiser_of_torch_keeps_the_bytes_of_its_recipe(recipe, make):
    model = torch.nn.Linear(30, 40)
    count = sum(parameter.numel() for parameter in model.parameters())
    optimizer = make(model.parameters())
    model(torch.ones(2, 30)).sum().backward()
    optimizer.step()
    state = sum(
        value.nbytes for slots in optimizer.state.values() for value in slots.values() if isinstance(value, torch.Tensor) and value.numel() > 1
    )
    weights = sum(parameter.nbytes for parameter in model.parameters())
    gradients = sum(parameter.grad.nbytes for parameter in model.parameters() if parameter.grad is not None)
    assert memory.state_bytes(count, recipe) == {"weights": weights, "gradients": gradients, "optimizer": state}


def test_mixed_precision_adam_takes_the_16_bytes_of_the_zero_paper():
    assert memory.ADAM_MIXED.bytes_per_param == 16 == memory.ADAM_32.bytes_per_param


@given(st.integers(1, 8), st.integers(1, 64), st.integers(1, 40))
def test_activations_grow_with_batch_and_depth_and_faster_than_the_context(batch, context, layers):
    shape = dataclasses.replace(SHAPE, layers=layers, positions=64)
    one = memory.activation_bytes(shape, 1, context)
    assert memory.activation_bytes(shape, batch, context) == batch * one
    assert memory.activation_bytes(dataclasses.replace(shape, layers=2 * layers), 1, context) == 2 * one
    assert memory.activation_bytes(shape, 1, 2 * context) > 2 * one


@given(st.integers(1, 8), st.integers(1, 64), st.integers(2, 40))
def test_recomputing_keeps_less_for_two_layers_and_more(batch, context, layers):
    shape = dataclasses.replace(SHAPE, layers=layers)
    assert memory.activation_bytes(shape, batch, context, recompute=True) < memory.activation_bytes(shape, batch, context)


def test_a_model_that_only_answers_keeps_its_weights_alone():
    found = memory.training_bytes(GPT2, 124_439_808, batch=1, recipe=memory.INFERENCE_16)
    assert found == {"weights": 248_879_616, "gradients": 0, "optimizer": 0, "activations": 0}


def test_the_context_is_the_shapes_own_unless_given():
    assert memory.activation_bytes(GPT2, 1) == memory.activation_bytes(GPT2, 1, 1024) > memory.activation_bytes(GPT2, 1, 512)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="must be at least 1, got 5 and 0"):
        memory.training_bytes(GPT2, 5, batch=0)
