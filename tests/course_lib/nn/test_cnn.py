"""course_lib.nn: convolutional networks, their parts, and what they see."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from course_lib.nn.cnn import LeNet, LeNetConfig, SmallCNN, equal_mlp, randomly_shifted, shifted
from course_lib.nn.inception import Inception, InceptionConfig
from course_lib.nn.receptive import Window, extent, receptive_field, seen_pixels
from course_lib.nn.residual import ResidualBlock, ResNet


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_lenet_has_the_parameters_of_its_paper_layout():
    assert count(LeNet()) == 61_706
    assert [count(layer) for layer in LeNet().children()] == [156, 2_416, 48_120, 10_164, 850]


@given(st.integers(16, 40), st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_lenet_takes_pictures_of_any_size_from_16_and_keeps_them_apart(size, channels):
    torch.manual_seed(0)
    net, x = LeNet(LeNetConfig(size=size, channels=channels, classes=7)), torch.randn(3, channels, size, size)
    assert net(x).shape == (3, 7)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [{"size": 15}, {"channels": 0}, {"widths": (6, 0, 120, 84)}])
def test_a_lenet_that_cannot_be_is_refused(config):
    with pytest.raises(ValueError, match="wanted pictures of at least 16"):
        LeNetConfig(**config)


@pytest.mark.parametrize("classes", [2, 10, 36])
def test_the_fully_connected_network_is_as_large_as_the_other(classes):
    other = LeNet(LeNetConfig(classes=classes))
    mlp = equal_mlp(other, 784, classes)
    assert abs(count(mlp) / count(other) - 1) < 0.01
    assert mlp(torch.zeros(2, 1, 28, 28)).shape == (2, classes)


def test_a_residual_block_is_torchvisions_basic_block_by_formula():
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 6, stride=2), torch.randn(5, 4, 9, 9)
    short = F.batch_norm(F.conv2d(x, block.shortcut[0].weight, stride=2), None, None, training=True)  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    change = F.batch_norm(F.conv2d(x, block.conv1.weight, stride=2, padding=1), None, None, training=True).relu()
    change = F.batch_norm(F.conv2d(change, block.conv2.weight, padding=1), None, None, training=True)
    torch.testing.assert_close(block(x), (short + change).relu())


def test_a_block_that_changes_nothing_passes_what_is_positive():
    block, x = ResidualBlock(4, 4).eval(), torch.rand(2, 4, 5, 5)
    nn.init.zeros_(block.norm2.weight)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_resnet_has_the_layers_that_it_says_and_the_plain_one_no_shortcut(blocks):
    deep, plain = ResNet(blocks, 8), ResNet(blocks, 8, residual=False)
    layers = [m for name, m in deep.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in name]
    assert len(layers) == 6 * blocks + 2
    assert not any("shortcut" in name for name in plain.state_dict())
    assert deep(torch.zeros(2, 1, 8, 8)).shape == plain(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_resnet18_of_the_paper_has_the_parameters_of_its_blocks():
    # 64 → 64, 64 → 128 (stride 2): what torchvision's resnet18 has in layer1.0 and layer2.0
    assert count(ResidualBlock(64, 64)) == 73_984 and count(ResidualBlock(64, 128, stride=2)) == 230_144


def test_googlenets_first_inception_block_has_the_parameters_of_its_paper():
    config = InceptionConfig(192, 64, 96, 128, 16, 32, 32)
    assert config.out_channels == 256
    assert count(Inception(config)) == 163_696  # "159K" in table 1 of the paper, in units of 1,024, and the biases
    assert Inception(config)(torch.zeros(1, 192, 7, 5)).shape == (1, 256, 7, 5)


def test_the_branches_of_inception_stand_in_their_order():
    torch.manual_seed(0)
    block, x = Inception(InceptionConfig(3, 2, 2, 3, 2, 4, 5)), torch.randn(2, 3, 6, 6)
    out = block(x)
    torch.testing.assert_close(out[:, :2], block.one(x).relu())
    torch.testing.assert_close(out[:, 2:5], block.three(block.reduce3(x).relu()).relu())
    torch.testing.assert_close(out[:, 5:9], block.five(block.reduce5(x).relu()).relu())
    torch.testing.assert_close(out[:, 9:], block.pool(F.max_pool2d(x, 3, 1, 1)).relu())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.builds(Window, st.integers(1, 4), st.integers(1, 2), st.integers(1, 2)), min_size=1, max_size=4))
def test_the_counted_receptive_field_is_the_one_that_gradients_measure(layers):
    net = nn.Sequential(*(nn.Conv2d(1, 1, layer.kernel, layer.stride, dilation=layer.dilation) for layer in layers))
    for module in net:
        nn.init.ones_(module.weight)  # pyright: ignore[reportArgumentType]
    field, jump = receptive_field(layers)
    size = field + 2 * jump + 2
    seen = seen_pixels(net, size)
    if all(layer.stride * 1 <= layer.dilation * (layer.kernel - 1) + 1 for layer in layers):  # else some steps leave gaps at the rim
        assert extent(seen) == (field, field)
    places = net(torch.zeros(1, 1, size, size)).shape[2]
    if places > 1:
        beside = seen_pixels(net, size, row=0, column=0), seen_pixels(net, size, row=0, column=1)
        starts = [int(one.sum(dim=0).nonzero()[0]) for one in beside]
        assert starts[1] - starts[0] == jump


def test_lenets_fields_are_those_of_the_chapters_table():
    layers = [Window(5), Window(2, 2), Window(5), Window(2, 2)]
    assert [receptive_field(layers[:count])[0] for count in range(1, 5)] == [5, 6, 14, 16]


def test_nothing_seen_has_no_extent():
    assert extent(torch.zeros(5, 5)) == (0, 0)


def test_a_shift_moves_pictures_and_fills_with_zeros():
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert shifted(x, right=1)[0, 0].tolist() == [[0, 0, 1, 2], [0, 4, 5, 6], [0, 8, 9, 10]]
    assert shifted(x, right=-1, down=2)[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 3, 0]]
    assert torch.equal(shifted(x), x)
    with pytest.raises(ValueError, match="leaves nothing"):
        shifted(x, right=5)


def test_random_shifts_stay_within_their_bound_and_differ():
    x = torch.zeros(200, 1, 9, 9)
    x[:, :, 4, 4] = 1
    places = randomly_shifted(x, 2, torch.Generator().manual_seed(0)).reshape(200, 81).nonzero()[:, 1]
    rows, columns = places // 9, places % 9
    assert len(places) == 200
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3, 4, 5, 6}


def test_convolutions_are_equivariant_away_from_the_edges():
    torch.manual_seed(0)
    conv, x = nn.Conv2d(1, 3, 5, padding=2), torch.zeros(1, 1, 20, 20)
    x[..., 6:12, 6:12] = torch.rand(6, 6)
    torch.testing.assert_close(conv(shifted(x, right=3))[..., 5:18], shifted(conv(x), right=3)[..., 5:18], rtol=1e-4, atol=1e-5)


def test_small_cnn_reads_pictures_of_8_by_8():
    net = SmallCNN().eval()
    x = torch.randn(4, 1, 8, 8)
    assert net(x).shape == (4, 10)
    torch.testing.assert_close(net(x)[:1], net(x[:1]), rtol=1e-4, atol=1e-5)
