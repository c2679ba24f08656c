"""course_lib.scale.flops and hardware: the rule of thumb against torch's counter and against what papers report."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from course_lib.scale import counting, flops, hardware
from course_lib.scale.models import GPT2, GPT3, LLAMA_7B, TransformerShape


def counted(width: int, hidden: int, heads: int, layers: int, context: int) -> int:
    """Operations of a stack of blocks, forward and back, as torch counts them."""
    with torch.device("meta"):
        block = torch.nn.TransformerEncoderLayer(width, heads, hidden, batch_first=True)
        stack = torch.nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        x = torch.empty(1, context, width, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        stack(x).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("context", [64, 512, 2048])
def test_6nd_and_the_attention_term_are_what_torch_counts_to_half_a_percent(context):
    shape = TransformerShape("stack", "gpt2", 1, context, 256, 1024, 4, 4)
    params = shape.layers * counting.block_params(shape.width, shape.hidden)
    expected = flops.training_flops(params, context) + flops.attention_flops(shape, context)
    assert expected == pytest.approx(counted(256, 1024, 4, 4, context), rel=0.005)


def test_gpt3_takes_the_operations_of_its_paper():
    assert flops.training_flops(counting.transformer_params(GPT3), 300e9) == pytest.approx(3.14e23, rel=0.005)  # Brown et al., table D.1


def test_llama_7b_ran_at_a_believable_utilisation():
    found = flops.utilisation(counting.transformer_params(LLAMA_7B), 1e12, hardware.A100, 82_432)  # Touvron et al. (2023a), table 15
    assert 0.4 < found < 0.5


@given(st.floats(1e6, 1e12), st.floats(1e6, 1e13), st.floats(0.05, 1), st.integers(1, 5000), st.floats(0, 10))
def test_a_cost_adds_up(params, tokens, share, cards, price):
    plan = flops.Plan(hardware.H100, cards, share, price)
    cost = flops.training_cost(params, tokens, plan)
    assert cost.flops == pytest.approx(6 * params * tokens)
    assert cost.days * 24 * cards == pytest.approx(cost.card_hours)
    assert cost.dollars == pytest.approx(cost.card_hours * price)
    assert cost.kilowatt_hours == pytest.approx(0.7 * cost.card_hours)
    assert flops.utilisation(params, tokens, hardware.H100, cost.card_hours) == pytest.approx(share)


def test_attention_takes_the_shapes_own_context_unless_another_is_given():
    assert flops.attention_flops(GPT2, 1) == flops.attention_flops(GPT2, 1, 1024) == 12 * 12 * 768 * 1024


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"utilisation": 0.0}, "got 0.0"), ({"utilisation": 40}, "got 40"), ({"cards": 0}, "got 0 and 2"), ({"price": -1}, "and -1")],
)
def test_an_impossible_plan_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        flops.Plan(**{"card": hardware.A100, "cards": 8, "utilisation": 0.4, "price": 2} | changes)


def test_the_speed_of_this_machine_is_that_of_a_real_product():
    found = hardware.matmul_flops_per_second(size=256, rounds=3)
    assert 1e7 < found < 1e15
