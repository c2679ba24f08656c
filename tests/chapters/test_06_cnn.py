"""Chapter 06 as a whole: it runs, in time, and every number in its text is true."""

import itertools
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
from course_lib.data.glyphs import FONTS, STRANGE_FONTS, glyphs
from course_lib.nn.cnn import LeNet
from course_lib.nn.depth import stored
from course_lib.nn.inception import Inception, InceptionConfig
from course_lib.nn.receptive import Window, receptive_field
from course_lib.nn.residual import ResidualBlock
from course_lib.scale import counting
from course_lib.scratch import conv, pooling

CHAPTER = find_chapter("06")


def shares(execution, pattern: str) -> list[float]:
    """The percentages that follow the pattern on its line."""
    return [float(word) for word in re.findall(r"([\d.]+)%", execution.printed(pattern + r".*")[0])]


def records(execution, mimetype: str) -> list[dict]:
    outputs = [output for cell in execution.node.cells for output in cell.get("outputs", [])]
    return [output.data[mimetype] for output in outputs if mimetype in output.get("data", {})]


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_chapter_has_the_size_that_it_announces():
    infos = exercise_infos(CHAPTER)
    assert 6 <= len(infos) <= 9
    assert {info.level for info in infos} == {1, 2, 3}
    assert "The exercises take about two hours" in prose("06")
    assert 105 <= sum(info.minutes for info in infos) <= 135


def test_the_bug_hunt_starts_from_a_program_that_runs_on_pictures_of_32_by_32():
    hunts = [cell.keys["exercise"] for cell in read(CHAPTER.source).cells if "### ELSE BROKEN" in cell.text]
    assert hunts == ["MendedCNN"]
    names = dict(namespace("cnn", solved=True))
    assert names["AsPrinted"](1, 8, 10)(torch.zeros(64, 1, 32, 32)).shape == (64, 10)
    assert len(names["AsPrinted"](1, 8, 10)(torch.zeros(64, 1, 28, 28))) == 49
    assert "64 · 490 numbers are 49 · 640" in " ".join(cell.text for cell in read(CHAPTER.source).cells)


def test_the_counts_in_the_text_are_those_of_the_networks():
    net = LeNet()
    convolutions = count(net.conv1) + count(net.conv2)
    work = {"conv1": 28 * 28 * 150, "conv2": 100 * 2_400, "fc1": 48_000, "fc2": 10_080, "fc3": 840}
    assert f"hold {convolutions / count(net):.0%} of the parameters" in prose("06")
    assert f"do {(work['conv1'] + work['conv2']) / sum(work.values()):.0%} of the work" in prose("06")
    assert f"LeNet's {count(net):,}" in prose("06")
    for layer, number in zip(net.children(), ("156", "2,416", "48,120", "10,164", "850"), strict=True):
        assert f"{count(layer):,}" == number and f"| {number} |" in prose("06")
    assert f"{len(FONTS)} fonts" in prose("06") and "keep four fonts" in prose("06") and len(STRANGE_FONTS) == 4
    assert count(nn.Linear(32, 10)) == 330 and "one affine layer of 330 parameters" in prose("06")
    split = glyphs()
    assert len(split.x_train) == 4000 and len(split.x_test) == 1000 and "The held-out thousand" in prose("06")


def test_the_table_of_lenet_says_how_far_each_layer_sees():
    layers = [Window(5), Window(2, 2), Window(5), Window(2, 2)]
    seen = re.findall(r"\| (?:convolution|max pooling)[^|]*\|[^|]*\|[^|]*\| (\d+) \|", prose("06"))
    assert [int(word) for word in seen] == [receptive_field(layers[:number])[0] for number in range(1, 5)]


def test_resnet_and_googlenet_are_as_small_as_the_text_says():
    resnet, bert = counting.resnet50_params(), 109_482_240
    assert f"{resnet / 1e6:.1f}" == "25.6" and round(bert / resnet) == 4 and round(175e9 / resnet, -3) == 7_000
    blocks = [
        (192, 64, 96, 128, 16, 32, 32),
        (256, 128, 128, 192, 32, 96, 64),
        (480, 192, 96, 208, 16, 48, 64),
        (512, 160, 112, 224, 24, 64, 64),
        (512, 128, 128, 256, 24, 64, 64),
        (512, 112, 144, 288, 32, 64, 64),
        (528, 256, 160, 320, 32, 128, 128),
        (832, 256, 160, 320, 32, 128, 128),
        (832, 384, 192, 384, 48, 128, 128),
    ]
    for this, following in itertools.pairwise(blocks):
        assert InceptionConfig(*this).out_channels == following[0]
    stem = nn.Conv2d(3, 64, 7), nn.Conv2d(64, 64, 1), nn.Conv2d(64, 192, 3), nn.Linear(1024, 1000)
    total = sum(map(count, stem)) + sum(count(Inception(InceptionConfig(*block))) for block in blocks)
    assert f"{total / 1e6:.0f}" == "7" and "about 7 million" in prose("06")


def test_two_kernels_of_three_have_18_weights_and_see_as_much_as_one_of_five():
    assert receptive_field([Window(3), Window(3)]) == receptive_field([Window(5)]) and "18 weights in place of 25" in prose("06")


def test_the_stored_depths_are_those_that_the_text_explains():
    outcomes = stored()
    assert len({outcome.seed for outcome in outcomes}) == 5
    mean = {
        (layers, residual): np.mean([o.learnt for o in outcomes if (o.layers, o.residual) == (layers, residual)])
        for layers in (8, 20, 56)
        for residual in (False, True)
    }
    assert mean[8, False] > mean[20, False] + 0.01 > mean[56, False] + 0.5
    assert min(mean[layers, True] for layers in (8, 20, 56)) > 0.97
    worst = [outcome.learnt for outcome in outcomes if outcome.layers == 56 and not outcome.residual]
    sources = " ".join(cell.text for cell in read(CHAPTER.source).cells)
    assert f"between {min(worst):.2f} and {max(worst):.2f} at 56 layers" in sources


def test_the_students_functions_and_the_librarys_agree():
    names, rng = namespace("cnn", solved=True), np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(2, 3, 8, 7)), rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)
    how = {"stride": 2, "padding": 1, "dilation": 2}
    out = conv.conv2d(x, weight, bias, **how)
    np.testing.assert_allclose(names["conv2d"](x, weight, bias, **how), out)
    np.testing.assert_allclose(names["conv2d_columns"](x, weight, bias, **how), out)
    upstream = rng.normal(size=out.shape)
    for ours, theirs in zip(names["conv2d_backward"](upstream, x, weight, **how), conv.conv2d_backward(upstream, x, weight, **how), strict=True):
        np.testing.assert_allclose(ours, theirs)
    pooled = names["pool2d"](x, 3, 2, "max")
    np.testing.assert_allclose(pooled, pooling.max_pool2d(x, 3, 2))
    np.testing.assert_allclose(names["pool2d"](x, 3, 2, "mean"), pooling.avg_pool2d(x, 3, 2))
    np.testing.assert_allclose(names["pool2d_backward"](pooled, x, 3, 2, "max"), pooling.max_pool2d_backward(pooled, x, 3, 2))


def test_the_students_residual_block_loads_the_librarys_weights():
    torch.manual_seed(0)
    theirs, ours = ResidualBlock(4, 6, 2), namespace("cnn", solved=True)["ResidualBlock"](4, 6, 2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 4, 9, 9)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_without_an_activation_two_convolutions_are_one():
    first, second, x = torch.randn(1, 1, 3, 3), torch.randn(1, 1, 3, 3), torch.randn(1, 1, 12, 12)
    together = F.conv2d(first, second.flip(2, 3), padding=2)
    torch.testing.assert_close(F.conv2d(x, together), F.conv2d(F.conv2d(x, first), second), rtol=1e-4, atol=1e-4)


def test_the_bonus_makes_the_filter_answer_more():
    torch.manual_seed(0)
    net, x = LeNet(), torch.full((1, 1, 28, 28), 0.5) + 0.05 * torch.randn(1, 1, 28, 28)

    def answer(x):
        return net.conv2(F.max_pool2d(F.relu(net.conv1(x)), 2))[0, 3].mean()

    before = answer(x).item()
    for _ in range(50):
        x.requires_grad_()
        (slope,) = torch.autograd.grad(answer(x), x)
        x = (x.detach() + 0.5 * slope / slope.norm()).clamp(0, 1)
    assert answer(x).item() > before + 0.01


@pytest.mark.slow
def test_the_solution_notebook_runs_within_90_seconds_and_two_gigabytes_and_says_nothing_on_stderr(executed):
    execution = executed("06")
    assert execution.seconds <= 90
    assert execution.peak_bytes <= 2 * 2**30
    assert not any(output.output_type == "stream" and output.name == "stderr" for cell in execution.node.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_every_check_of_the_solution_notebook_is_solved(executed):
    checks = records(executed("06"), "application/vnd.large-models-check+json")
    assert [record["exercise"] for record in checks] == [info.id for info in exercise_infos(CHAPTER)]
    assert all(record["solved"] for record in checks)


@pytest.mark.slow
def test_the_outcomes_of_the_predictions_are_those_that_the_text_explains(executed):
    truths = {record["prediction"]: float(record["truth"]) for record in records(executed("06"), "application/vnd.large-models-prediction+json")}
    assert truths == {"cnn.first_layer": 784 * 4704 + 4704, "cnn.receptive_field": 14, "cnn.rows": 49}


@pytest.mark.slow
def test_columns_are_more_than_fifty_times_as_fast_as_loops(executed):
    loops, columns = (float(executed("06").printed(rf"{name}\s+([\d.]+) ms, equal")[1]) for name in ("loops", "columns"))
    assert loops > 50 * columns


@pytest.mark.slow
def test_measured_slopes_and_computed_ones_agree(executed):
    for name in ("x", "weight"):
        assert float(executed("06").printed(rf"{name}\s+25 slopes measured, largest difference (\S+)")[1]) < 1e-7
    assert float(executed("06").printed(r"largest difference of a gradient: (\S+)")[1]) < 1e-4


@pytest.mark.slow
def test_lenet_reads_99_percent_of_held_out_digits_and_the_fully_connected_network_fewer(executed):
    lenet, other = (shares(executed("06"), rf"{name}\s+held-out digits:")[0] for name in ("LeNet", "fully connected"))
    assert lenet >= 99.0 and lenet > other + 1.5
    sizes = executed("06").printed(r"LeNet has ([\d,]+) parameters, the other network, \d+ wide, ([\d,]+)")
    ours, theirs = (int(word.replace(",", "")) for word in sizes.groups())
    assert abs(ours / theirs - 1) < 0.01


@pytest.mark.slow
def test_under_shifts_lenet_falls_the_fully_connected_network_falls_more_and_the_mean_of_maps_stays(executed):
    four, six = ([float(word) for word in shares(executed("06"), rf"{right} pixels: LeNet")] for right in (4, 6))
    assert 45 < four[0] < 70 and 20 < four[1] < 45 and four[0] > four[1] + 10  # "about six in ten", "a third"
    assert 12 < six[0] < 40
    mean = shares(executed("06"), r"(?m)^6 pixels: (?=\d)")
    assert len(mean) == 2 and np.mean(mean) > 90 and min(shares(executed("06"), r"(?m)^0 pixels: (?=\d)")) > 96
    assert int(executed("06").printed(r"([\d,]+) parameters\n+0 pixels")[1].replace(",", "")) * 9 < count(LeNet())


@pytest.mark.slow
def test_augmentation_gives_back_most_of_what_lenet_lost(executed):
    lenet, other = (shares(executed("06"), rf"{name}\s+trained on moved pictures") for name in ("LeNet", "fully connected"))
    assert lenet[3] > 80 and lenet[3] > other[3] + 10 and lenet[0] > 98


@pytest.mark.slow
def test_only_the_convolutional_network_notices_that_pixels_were_dealt_out_anew(executed):
    (plain, scrambled), (plain_mlp, scrambled_mlp) = (shares(executed("06"), rf"{name}\s+as they are:") for name in ("LeNet", "fully connected"))
    assert abs(plain_mlp - scrambled_mlp) < 2 and plain - scrambled > 4 and scrambled < scrambled_mlp + 0.5


@pytest.mark.slow
def test_strange_fonts_cost_both_networks_about_a_point_or_two(executed):
    lenet, other = (shares(executed("06"), rf"{name}\s+digits in strange fonts:") for name in ("LeNet", "fully connected"))
    assert np.mean(lenet) > np.mean(other) + 1.5
    known = [shares(executed("06"), rf"{name}\s+held-out digits:")[0] for name in ("LeNet", "fully connected")]
    assert all(0 < before - np.mean(now) < 3.5 for before, now in zip(known, (lenet, other), strict=True))


@pytest.mark.slow
def test_the_small_network_reads_98_percent_of_the_8_by_8_digits(executed):
    found = shares(executed("06"), r"8 × 8 digits, held out, three seeds:")
    assert len(found) == 3 and np.mean(found) >= 98.0


@pytest.mark.slow
def test_two_maps_read_fewer_than_sixteen_with_every_seed(executed):
    two, mended = (shares(executed("06"), rf"{name}\s+held-out 8 and B:") for name in ("TwoMaps", "MendedCNN"))
    assert all(a < b for a, b in zip(two, mended, strict=True))


@pytest.mark.slow
def test_twenty_layers_learn_better_with_shortcuts(executed):
    plain, residual = (shares(executed("06"), rf"{name}\s+20 layers: training") for name in ("PlainBlock", "ResidualBlock"))
    assert residual[0] > plain[0] and residual[0] > 98


@pytest.mark.gpu
def test_a_network_trained_on_a_gpu_answers_there_and_in_16_bits_as_on_the_processor():
    torch.manual_seed(0)
    net, x = LeNet(), torch.rand(64, 1, 28, 28)
    wanted = net(x)
    moved = net.to("cuda", memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = moved(x.to("cuda").contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found.float().cpu(), wanted, rtol=0.05, atol=0.02)
