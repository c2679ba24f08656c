"""One loader for pictures to classify: rendered characters, always there; MNIST and CIFAR-10, fetched once when there is a network.

Whatever the name, what comes back is a `Pictures`: x (N, C, H, W) float32 from 0 to 1, y (N,) int64. Files are fetched by pooch, which refuses one
whose checksum is wrong, and kept in the user's cache folder.
"""

import gzip
import struct
import tarfile
from pathlib import Path

import numpy as np

from course_lib.data.glyphs import DIGITS, LETTERS, Pictures, glyphs
from course_lib.data.split import generator

MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = {  # name → MD5 checksum
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
CIFAR = "https://www.cs.toronto.edu/~kriz/"
CIFAR_FILES = {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_ROW = 1 + 3 * 32 * 32  # bytes: a label, then red, green and blue, row by row


def pictures(name: str = "glyphs", seed: int = 0, most: int | None = None) -> Pictures:
    """A data set by its name, with at most `most` pictures on either side, chosen by the seed.

    "glyphs"    4,000 + 1,000 digits from 19 fonts, 1 × 28 × 28 (course_lib.data.glyphs)
    "letters"   14,400 + 3,600 digits and capital letters, 36 classes, likewise
    "mnist"     60,000 + 10,000 handwritten digits, 1 × 28 × 28; 12 MB to fetch. LeCun, Cortes and Burges, 1998; CC BY-SA 3.0
    "cifar10"   50,000 + 10,000 colour photographs, 3 × 32 × 32; 170 MB to fetch. Krizhevsky, 2009; free to use, with its report cited

    Without a network, the last two say so and give "glyphs" instead; `Pictures.name` tells what one has.
    """
    if most is not None and most < 1:
        raise ValueError(f"most must be at least 1, got {most}")
    if name == "glyphs":
        found = glyphs(seed=seed)
    elif name == "letters":
        found = glyphs(seed=seed, characters=DIGITS + LETTERS)
    elif name in ("mnist", "cifar10"):
        try:
            found = _mnist() if name == "mnist" else _cifar10()
        except OSError as error:
            print(f"{name} could not be fetched ({type(error).__name__}); here are the rendered glyphs instead, which need no network.")
            found = glyphs(seed=seed)
    else:
        raise ValueError(f"no data set {name!r}; there are glyphs, letters, mnist and cifar10")
    return found if most is None else _some(found, most, seed)


def _some(found: Pictures, most: int, seed: int) -> Pictures:
    rng = generator(seed)
    train, test = (rng.permutation(len(labels))[:most] for labels in (found.y_train, found.y_test))
    return Pictures(found.x_train[train], found.y_train[train], found.x_test[test], found.y_test[test], found.class_names, found.name)


def _fetched(base: str, file: str, checksum: str) -> Path:
    """The file's place on this machine, fetched if it is not there yet."""
    import platformdirs
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would announce every file on stderr
    return Path(pooch.retrieve(base + file, known_hash=f"md5:{checksum}", fname=file, path=platformdirs.user_cache_dir("large-models-from-scratch")))


def _mnist() -> Pictures:
    images, labels, test_images, test_labels = (read_idx(_fetched(MNIST, file, checksum)) for file, checksum in MNIST_FILES.items())
    x_train, x_test = (array[:, None].astype(np.float32) / 255 for array in (images, test_images))
    return Pictures(x_train, labels.astype(np.int64), x_test, test_labels.astype(np.int64), tuple(DIGITS), "mnist")


def _cifar10() -> Pictures:
    ((file, checksum),) = CIFAR_FILES.items()
    sides = read_cifar(_fetched(CIFAR, file, checksum))
    return Pictures(*sides["train"], *sides["test"], CIFAR_CLASSES, "cifar10")


def read_idx(file: Path) -> np.ndarray:
    """A gzipped file in MNIST's format: two zero bytes, a type (8: unsigned bytes), the number of axes, each axis as four bytes, the data."""
    raw = gzip.decompress(file.read_bytes())
    zero, kind, axes = struct.unpack(">HBB", raw[:4])
    if zero or kind != 8:
        raise ValueError(f"{file.name} is no IDX file of bytes")
    shape = struct.unpack(f">{axes}I", raw[4 : 4 + 4 * axes])
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_cifar(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The binary version of CIFAR-10: {"train": (x (50000, 3, 32, 32) float32, y (50000,)), "test": …}."""
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    with tarfile.open(file) as archive:
        for member in sorted(archive.getmembers(), key=lambda one: one.name):
            if member.name.endswith(".bin") and (stream := archive.extractfile(member)) is not None:
                rows = np.frombuffer(stream.read(), dtype=np.uint8).reshape(-1, CIFAR_ROW)
                parts["test" if "test" in member.name else "train"].append(rows)
    sides = {}
    for side, arrays in parts.items():
        rows = np.concatenate(arrays)
        sides[side] = rows[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255, rows[:, 0].astype(np.int64)
    return sides
