"""Rendered characters: pictures of 28 × 28 pixels, drawn from the fonts that matplotlib ships, bent, moved and made noisy.

As large as MNIST's pictures and there without a network, in any number, with the truth known: who wrote it is a font, and what was done to it is in
this file. Every draw comes from the seed.

Dimensions: N pictures, F fonts, S × S pixels.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.data.split import Split, check_fraction, generator

DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIZE = 28  # pixels along each side
HEIGHT = 18.0  # pixels that a character is high (or wide, if it is wider), before it is bent
CANVAS = 64  # pixels along each side of what a font draws
FONT_SIZE = 40  # pixels to the em
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
)
STRANGE_FONTS = ("DejaVuSansMono-Oblique", "DejaVuSerif-BoldItalic", "STIXGeneralItalic", "cmtt10")  # kept for the test with held_out="fonts"


@dataclass(frozen=True)
class Distortion:
    """How far a picture may be bent: every number is the largest, and drawn evenly up to it, to either side.

    turn in degrees; shear and stretch as shares; shift in pixels; fade: the share of ink that may be missing; noise: the standard deviation that is
    added to every pixel, drawn evenly from 0 to this.
    """

    turn: float = 12.0
    shear: float = 0.2
    stretch: float = 0.15
    shift: float = 2.0
    fade: float = 0.3
    noise: float = 0.12


@dataclass(frozen=True, eq=False, repr=False)
class Pictures(Split):
    """A Split of pictures: x (N, C, H, W) float32 from 0.0 to 1.0; class_names[y] says what label y is. name: of the data set that it really is."""

    class_names: tuple[str, ...]
    name: str


def glyphs(
    seed: int = 0,
    characters: str = DIGITS,
    per_class: int = 500,
    test_fraction: float = 0.2,
    held_out: str = "pictures",
    distortion: Distortion | None = None,
) -> Pictures:
    """Pictures of characters, as many of each: `per_class`, split into training and test.

    x (N, 1, 28, 28): float32, ink from 0.0 (paper) to 1.0. y (N,): int64, places in `characters`, which are digits and capital letters.
    By default 4,000 training and 1,000 test pictures of the ten digits; DIGITS + LETTERS makes 36 classes.
    held_out  "pictures": both sides draw from all 19 fonts, so the test asks for shapes that were seen, bent as they were not.
              "fonts": the test side draws from four fonts that the training side never uses, which is a stranger's hand.
    In some fonts 0 and O, or 1 and I, differ by little, and bent they differ by less: with 36 classes nobody reads all of them.

    Fonts: DejaVu (Bitstream Vera licence), STIX (SIL Open Font Licence), Computer Modern (BaKoMa licence), bundled with matplotlib.
    """
    check_fraction(test_fraction)
    if not characters or len(set(characters)) != len(characters) or not set(characters) <= set(DIGITS + LETTERS):
        raise ValueError(f"characters must be different digits or capital letters, got {characters!r}")
    if held_out not in ("pictures", "fonts"):
        raise ValueError(f"held_out must be 'pictures' or 'fonts', got {held_out!r}")
    num_test = round(test_fraction * per_class)
    if not 0 < num_test < per_class:
        raise ValueError(f"{per_class} pictures a class leave nothing for one side at test_fraction {test_fraction}")

    rng = generator(seed)
    usual = tuple(font for font in FONTS if held_out == "pictures" or font not in STRANGE_FONTS)
    sides = []
    for count, fonts in ((per_class - num_test, usual), (num_test, FONTS if held_out == "pictures" else STRANGE_FONTS)):
        labels = rng.permutation(np.repeat(np.arange(len(characters)), count))
        chosen = rng.integers(len(fonts), size=len(labels))
        sides.append((render([characters[label] for label in labels], [fonts[font] for font in chosen], rng, distortion)[:, None], labels))
    (x_train, y_train), (x_test, y_test) = sides
    return Pictures(x_train, y_train, x_test, y_test, tuple(characters), "glyphs")


def render(characters: Sequence[str], fonts: Sequence[str], rng: np.random.Generator, distortion: Distortion | None = None) -> np.ndarray:
    """One picture for each character in the font beside it, each bent in its own way: (N, 28, 28) float32."""
    if len(characters) != len(fonts):
        raise ValueError(f"{len(characters)} characters and {len(fonts)} fonts; wanted one font for each character")
    how = distortion or Distortion()
    count = len(characters)
    kinds = {pair: place for place, pair in enumerate(dict.fromkeys(zip(characters, fonts, strict=True)))}
    drawn = [_drawn(*pair) for pair in kinds]
    canvases = np.stack([canvas for canvas, _ in drawn]).reshape(-1).astype(np.float32)  # (kinds · CANVAS²,)
    extents = np.array([extent for _, extent in drawn])
    kind = np.array([kinds[pair] for pair in zip(characters, fonts, strict=True)])  # (N,)

    def evenly(most: float) -> np.ndarray:
        return rng.uniform(-most, most, size=count)

    angle, shear = np.radians(evenly(how.turn)), evenly(how.shear)
    across, along = np.exp(evenly(how.stretch)), np.exp(evenly(how.stretch))
    right, down = evenly(how.shift), evenly(how.shift)
    cos, sin = np.cos(angle), np.sin(angle)
    # The matrix of each picture, from canvas pixels to picture pixels: stretch, then shear, then turn.
    matrix = np.empty((count, 2, 2))
    matrix[:, 0, 0], matrix[:, 0, 1] = cos * across, (cos * shear - sin) * along
    matrix[:, 1, 0], matrix[:, 1, 1] = sin * across, (sin * shear + cos) * along
    inverse = np.linalg.inv(matrix * (HEIGHT / extents[kind])[:, None, None])  # (N, 2, 2): where on the canvas a pixel of the picture lies

    move = np.stack([right, down], axis=1)
    parts = [slice(start, start + 250) for start in range(0, count, 250)]  # a few at a time, so that they stay in the cache
    pictures = np.concatenate([_sampled(canvases, kind[part], inverse[part], move[part]) for part in parts])
    pictures *= 1 - rng.uniform(0, how.fade, size=(count, 1, 1)).astype(np.float32)
    pictures += rng.uniform(0, how.noise, size=(count, 1, 1)).astype(np.float32) * rng.standard_normal(pictures.shape, dtype=np.float32)
    return np.clip(pictures, 0, 1)


def from_text(drawing: str) -> np.ndarray:
    """A drawing of characters as a picture: anything but a space or a full stop is ink. → (28, 28) float32, centred, 18 pixels high or wide.

    >>> from_text("###\\n..#\\n..#").shape
    (28, 28)
    """
    lines = [line.rstrip() for line in drawing.splitlines()]
    wide = max((len(line) for line in lines), default=0)
    ink = np.array([[letter not in " ." for letter in line.ljust(wide)] for line in lines], dtype=float)
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0)) if ink.size else (np.array([]), np.array([]))
    if not len(rows):
        raise ValueError("the drawing holds no ink: write it in characters such as #")
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = max(ink.shape) / HEIGHT  # characters to the pixel
    fine = 4  # points to the pixel
    axis = ((np.arange(SIZE * fine) + 0.5) / fine - SIZE / 2) * scale
    row, column = (np.floor(axis + extent / 2).astype(int) for extent in ink.shape)
    inside = ((row >= 0) & (row < ink.shape[0]))[:, None] & ((column >= 0) & (column < ink.shape[1]))
    points = np.where(inside, ink[np.clip(row, 0, ink.shape[0] - 1)][:, np.clip(column, 0, ink.shape[1] - 1)], 0)
    return points.reshape(SIZE, fine, SIZE, fine).mean(axis=(1, 3)).astype(np.float32)


@functools.cache
def _drawn(character: str, font: str) -> tuple[np.ndarray, float]:
    """What the font draws, in the middle of a canvas (CANVAS, CANVAS) from 0 to 1, and how high (or wide, if wider) its ink is, in pixels."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    if font not in FONTS:
        raise ValueError(f"{font!r} is none of the fonts {', '.join(FONTS)}")
    face = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"))
    face.set_size(FONT_SIZE, 72)
    face.set_text(character)
    face.draw_glyphs_to_bitmap(antialiased=True)
    ink = np.asarray(face.get_image(), dtype=np.float64) / 255
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    high, wide = ink.shape
    canvas = np.zeros((CANVAS, CANVAS))
    top, left = (CANVAS - high) // 2, (CANVAS - wide) // 2
    canvas[top : top + high, left : left + wide] = ink
    canvas.setflags(write=False)
    return canvas, float(max(high, wide))


def _sampled(canvases: np.ndarray, kind: np.ndarray, inverse: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Pictures by looking up, for each pixel, where on its canvas it lies, and the value between the four canvas pixels around that place.

    canvases flat float32, kind (N,) which canvas, inverse (N, 2, 2) from pixels to canvas pixels, move (N, 2) right and down → (N, S, S) float32
    """
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    columns, rows = axis[None, None, :] - move[:, 0, None, None], axis[None, :, None] - move[:, 1, None, None]
    # What lies beyond the canvas is read at its edge, which is paper.
    place, share = [], []
    for number in (0, 1):  # the column, then the row on the canvas
        where = inverse[:, number, 0, None, None] * columns + inverse[:, number, 1, None, None] * rows + (CANVAS - 1) / 2
        np.clip(where, 0, CANVAS - 1.001, out=where)
        whole = where.astype(np.int32)
        place.append(whole)
        share.append((where - whole).astype(np.float32))
    corner = (kind[:, None, None].astype(np.int32) * CANVAS + place[1]) * CANVAS + place[0]
    u, v = share
    above = canvases[corner] * (1 - u) + canvases[corner + 1] * u
    below = canvases[corner + CANVAS] * (1 - u) + canvases[corner + CANVAS + 1] * u
    return above * (1 - v) + below * v


def fonts_at(count: int) -> list[str]:
    """`count` fonts, as far apart in the list as they can be."""
    if not 1 <= count <= len(FONTS):
        raise ValueError(f"wanted 1 to {len(FONTS)} fonts, was asked for {count}")
    return [FONTS[math.floor(place * len(FONTS) / count)] for place in range(count)]
