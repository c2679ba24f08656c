"""course_lib.data.glyphs and pictures: rendered characters, and the classic sets through the same door."""

import gzip
import io
import socket
import struct
import tarfile

import numpy as np
import pytest

from course_lib.data import Pictures, glyphs, pictures
from course_lib.data import pictures as pictures_function
from course_lib.data.glyphs import DIGITS, FONTS, LETTERS, STRANGE_FONTS, Distortion, fonts_at, from_text, render

STILL = Distortion(turn=0, shear=0, stretch=0, shift=0, fade=0, noise=0)


def module():
    """The module of that name; the package shows the function."""
    import importlib

    return importlib.import_module("course_lib.data.pictures")


def test_glyphs_are_grey_pictures_of_28_by_28_with_as_many_of_each():
    split = glyphs(per_class=50)
    assert split.x_train.shape == (400, 1, 28, 28) and split.x_test.shape == (100, 1, 28, 28)
    assert split.x_train.dtype == np.float32 and split.y_train.dtype == np.int64
    assert split.x_train.min() >= 0 and split.x_train.max() <= 1
    assert np.bincount(split.y_train).tolist() == [40] * 10 and np.bincount(split.y_test).tolist() == [10] * 10
    assert split.class_names == tuple(DIGITS) and split.name == "glyphs"


def test_ten_digits_and_26_letters_make_36_classes():
    split = glyphs(characters=DIGITS + LETTERS, per_class=5)
    assert len(split.class_names) == len(np.unique(split.y_train)) == 36


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others():
    first, again, other = (glyphs(seed=seed, per_class=10) for seed in (3, 3, 4))
    assert np.array_equal(first.x_train, again.x_train) and np.array_equal(first.y_test, again.y_test)
    assert not np.array_equal(first.x_train, other.x_train)


def test_no_two_pictures_are_alike():
    split = glyphs(per_class=100)
    rows = np.concatenate([split.x_train, split.x_test]).reshape(1000, -1)
    assert len(np.unique(rows, axis=0)) == 1000


@pytest.mark.parametrize("font", FONTS)
def test_every_font_draws_every_character_differently_and_in_the_middle(font):
    drawn = render(DIGITS + LETTERS, [font] * 36, np.random.default_rng(0), STILL)
    assert len({picture.tobytes() for picture in drawn}) == 36
    for picture in drawn:
        rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
        assert 17 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
        assert abs((rows[0] + rows[-1]) / 2 - 13.5) <= 1 and abs((columns[0] + columns[-1]) / 2 - 13.5) <= 1


def test_fonts_draw_the_same_character_in_different_ways():
    drawn = render("4" * len(FONTS), FONTS, np.random.default_rng(0), STILL)
    assert len({picture.tobytes() for picture in drawn}) == len(FONTS)


def test_strange_fonts_are_in_the_test_alone(monkeypatch):
    import importlib

    home, used = importlib.import_module("course_lib.data.glyphs"), []
    real = home.render
    monkeypatch.setattr(home, "render", lambda characters, fonts, *rest: used.append(set(fonts)) or real(characters, fonts, *rest))
    glyphs(per_class=50, held_out="fonts")
    assert used == [set(FONTS) - set(STRANGE_FONTS), set(STRANGE_FONTS)]


@pytest.mark.parametrize("name", ["turn", "shear", "stretch", "shift", "fade", "noise"])
def test_every_distortion_changes_the_picture_and_none_changes_nothing(name):
    still, again = (render("5", ["cmr10"], np.random.default_rng(seed), STILL) for seed in (0, 1))
    assert np.array_equal(still, again)
    bent = render("5", ["cmr10"], np.random.default_rng(0), Distortion(**{**STILL.__dict__, name: 0.5}))
    assert not np.allclose(bent, still)


def test_a_shift_moves_the_middle_of_the_ink_and_a_turn_does_not():
    rng = np.random.default_rng(0)
    for how, far in (
        (Distortion(turn=0, shear=0, stretch=0, shift=4, fade=0, noise=0), True),
        (Distortion(turn=20, shear=0, stretch=0, shift=0, fade=0, noise=0), False),
    ):
        drawn = render("8" * 50, ["DejaVuSans"] * 50, rng, how)
        middle = (drawn * np.arange(28)).sum(axis=(1, 2)) / drawn.sum(axis=(1, 2)) - 13.5
        assert bool(np.abs(middle).max() > 2) is far
        assert np.abs(middle).max() < 4.5


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"characters": "0a"}, "digits or capital letters"),
        ({"characters": "00"}, "different"),
        ({"held_out": "x"}, "held_out"),
        ({"per_class": 2}, "nothing for one side"),
        ({"test_fraction": 1.0}, "test_fraction"),
    ],
)
def test_what_cannot_be_rendered_is_refused(keywords, message):
    with pytest.raises(ValueError, match=message):
        glyphs(**keywords)


def test_a_font_that_is_none_of_ours_is_named():
    with pytest.raises(ValueError, match="'Arial' is none of the fonts"):
        render("1", ["Arial"], np.random.default_rng(0))


def test_a_drawing_of_characters_becomes_a_picture_in_the_middle():
    picture = from_text("\n..\n.###\n.#.#\n.###\n")
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    assert picture.shape == (28, 28) and picture.dtype == np.float32
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (5, 22, 5, 22)
    assert picture[13, 13] == 0 and picture[13, 6] == 1
    with pytest.raises(ValueError, match="no ink"):
        from_text(" . ")


def test_fonts_at_spreads_over_the_list():
    assert fonts_at(len(FONTS)) == list(FONTS) and len(set(fonts_at(5))) == 5
    with pytest.raises(ValueError, match="wanted 1 to"):
        fonts_at(0)


@pytest.mark.parametrize("name", ["glyphs", "letters"])
def test_the_rendered_sets_need_no_network(name, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a socket was opened"))
    found = pictures(name, most=30)
    assert isinstance(found, Pictures) and len(found.x_train) == len(found.x_test) == 30


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_without_a_network_the_classic_sets_say_so_and_give_glyphs(name, monkeypatch, capsys):
    def refuse(*_):
        raise ConnectionError("no network")

    monkeypatch.setattr(module(), "_fetched", refuse)
    found = pictures(name, most=20)
    assert found.name == "glyphs" and found.x_train.shape == (20, 1, 28, 28)
    assert f"{name} could not be fetched (ConnectionError); here are the rendered glyphs" in capsys.readouterr().out


def test_mnists_format_is_read(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    made = {}
    for file, shape in zip(module().MNIST_FILES, ((7, 28, 28), (7,), (3, 28, 28), (3,)), strict=True):
        made[file] = rng.integers(0, 10, size=shape, dtype=np.uint8)
        head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        (tmp_path / file).write_bytes(gzip.compress(head + made[file].tobytes()))
    monkeypatch.setattr(module(), "_fetched", lambda base, file, checksum: tmp_path / file)
    found = pictures_function("mnist")
    assert found.name == "mnist" and found.x_train.shape == (7, 1, 28, 28) and found.x_test.shape == (3, 1, 28, 28)
    images, labels = made["train-images-idx3-ubyte.gz"], made["train-labels-idx1-ubyte.gz"]
    np.testing.assert_allclose(found.x_train[:, 0], images / np.float32(255))
    assert found.y_train.tolist() == labels.tolist() and found.y_train.dtype == np.int64
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x0d\1\0\0\0\0"))
    with pytest.raises(ValueError, match="no IDX file of bytes"):
        pictures_function("mnist")


def test_cifars_format_is_read(monkeypatch, tmp_path):
    rng, rows = np.random.default_rng(0), {}
    file = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
            rows[name] = rng.integers(0, 256, size=(4, 3073), dtype=np.uint8)
            rows[name][:, 0] %= 10
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = rows[name].size
            archive.addfile(info, io.BytesIO(rows[name].tobytes()))
    monkeypatch.setattr(module(), "_fetched", lambda *_: file)
    found = pictures_function("cifar10")
    assert found.x_train.shape == (8, 3, 32, 32) and found.x_test.shape == (4, 3, 32, 32) and len(found.class_names) == 10
    row = rows["data_batch_2.bin"][1]
    assert found.y_train[5] == row[0]
    np.testing.assert_allclose(found.x_train[5, 2, 3, 4], row[1 + 2 * 1024 + 3 * 32 + 4] / np.float32(255))


def test_a_set_that_is_none_is_named():
    with pytest.raises(ValueError, match="no data set 'imagenet'"):
        pictures("imagenet")
    with pytest.raises(ValueError, match="most must be at least 1"):
        pictures(most=0)
