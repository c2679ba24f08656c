"""Numbers from 0 to 999,999 in English words and in Chinese numerals: a translation task with one right answer each, made here from two grammars.

The two languages group digits differently, English by three (thousand), Chinese by four (万, ten thousand): 120,345 is "one hundred twenty thousand
three hundred forty-five" and 十二万零三百四十五. No word-by-word translation gets that right, and every answer can be judged exactly.
"""

import numpy as np

from course_lib.data.pairs import Pair, PairSplit
from course_lib.data.split import check_fraction, generator

LARGEST = 999_999
ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ONES += ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
DIGITS = "零一二三四五六七八九"
UNITS = (("千", 1000), ("百", 100), ("十", 10), ("", 1))
ALWAYS_TRAINED = 20  # numbers below this one are never held out: "zero" stands nowhere but in 0


def english_words(number: int) -> str:
    """ "one hundred twenty thousand three hundred forty-five" for 120345: American style, without "and"."""
    thousands, rest = divmod(_checked(number), 1000)
    parts = ([_below_thousand(thousands), "thousand"] if thousands else []) + ([_below_thousand(rest)] if rest or not thousands else [])
    return " ".join(parts)


def chinese_numeral(number: int) -> str:
    """十二万零三百四十五 for 120345: digits and units in groups of four, 零 once for each run of missing digits inside, 十 for a leading 一十.

    2 is 二 throughout (in speech, 两 often stands before 千 and 万).
    """
    high, low = divmod(_checked(number), 10_000)
    text = _section(high) + "万" if high else ""
    if low or not high:
        text += ("零" if high and low < 1000 else "") + _section(low)
    return text.removeprefix("一") if text.startswith("一十") else text


def numeral_value(text: str) -> int:
    """The number that a Chinese numeral names, read by another route than it is written: sums of digit times unit. ValueError for other text."""
    total = section = digit = 0
    for sign in text:
        if sign in DIGITS:
            digit = DIGITS.index(sign)
        elif sign == "万":
            total, section, digit = (section + digit) * 10_000, 0, 0
        elif sign in "十百千":
            section += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[sign]
            digit = 0
        else:
            raise ValueError(f"{sign!r} in {text!r} is no sign of a numeral")
    if not text:
        raise ValueError("an empty text names no number")
    return total + section + digit


def number_pairs(count: int = 12_000, test_fraction: float = 0.2, seed: int = 0) -> PairSplit:
    """English words → Chinese numerals, held out by number.

    count distinct numbers: 0 to 999 all, and as many with four digits as with five and with six, drawn at random. (Drawn evenly from the whole
    range, nine of ten would have six digits.) Of those from 20 on, test_fraction are held out. Both sides in random order.
    """
    check_fraction(test_fraction)
    if not 1300 <= count <= 28_000:
        raise ValueError(f"count must lie between 1300 and 28000, got {count}")
    rng = generator(seed)
    numbers = [np.arange(1000)]
    for digits in (4, 5, 6):
        low = 10 ** (digits - 1)
        share = (count - 1000 + digits - 4) // 3  # the three shares add up to count - 1000
        numbers.append(low + rng.choice(9 * low, size=share, replace=False))
    drawn = rng.permutation(np.concatenate(numbers))
    large = drawn[drawn >= ALWAYS_TRAINED]
    held_out = large[: round(test_fraction * len(large))]
    rest = rng.permutation(np.concatenate([large[len(held_out) :], np.arange(ALWAYS_TRAINED)]))
    return PairSplit(*([Pair(english_words(n), chinese_numeral(n)) for n in part.tolist()] for part in (rest, held_out)))


def _checked(number: int) -> int:
    if not 0 <= number <= LARGEST:
        raise ValueError(f"wanted a number from 0 to {LARGEST}, got {number}")
    return int(number)


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    parts = [ONES[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        parts.append(TENS[rest // 10 - 2] + (f"-{ONES[rest % 10]}" if rest % 10 else ""))
    elif rest or not hundreds:
        parts.append(ONES[rest])
    return " ".join(parts)


def _section(number: int) -> str:
    """Up to four digits: 零 stands for missing ones between others, never at the end."""
    if number == 0:
        return DIGITS[0]
    text, gap = "", False
    for unit, size in UNITS:
        digit = number // size % 10
        if digit:
            text += ("零" if gap and text else "") + DIGITS[digit] + unit
        gap = not digit
    return text
