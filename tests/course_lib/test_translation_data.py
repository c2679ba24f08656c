"""course_lib.data.number_words, dates and pairs: every pair is right, and nothing held out is ever trained on."""

import datetime
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data.dates import STYLES, date_pairs, ordinal_ending, written_date
from course_lib.data.number_words import ALWAYS_TRAINED, LARGEST, ONES, TENS, chinese_numeral, english_words, number_pairs, numeral_value
from course_lib.data.pairs import BOS, EOS, PAD, Vocabulary, padded, teacher_pairs, tokens_of

NUMBERS = st.integers(0, LARGEST)


def value_of_words(text: str) -> int:
    """What English number words mean, read from left to right."""
    total = part = 0
    for word in re.split(r"[ -]", text):
        if word == "thousand":
            total, part = part * 1000, 0
        elif word == "hundred":
            part *= 100
        else:
            part += ONES.index(word) if word in ONES else 10 * (TENS.index(word) + 2)
    return total + part


@given(NUMBERS)
def test_both_languages_name_the_number(number):
    assert value_of_words(english_words(number)) == number
    assert numeral_value(chinese_numeral(number)) == number


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [
        (0, "zero", "零"),
        (10, "ten", "十"),
        (15, "fifteen", "十五"),
        (42, "forty-two", "四十二"),
        (100, "one hundred", "一百"),
        (105, "one hundred five", "一百零五"),
        (110, "one hundred ten", "一百一十"),
        (1001, "one thousand one", "一千零一"),
        (1010, "one thousand ten", "一千零一十"),
        (10_000, "ten thousand", "一万"),
        (10_800, "ten thousand eight hundred", "一万零八百"),
        (100_000, "one hundred thousand", "十万"),
        (120_345, "one hundred twenty thousand three hundred forty-five", "十二万零三百四十五"),
        (909_090, "nine hundred nine thousand ninety", "九十万九千零九十"),
        (999_999, "nine hundred ninety-nine thousand nine hundred ninety-nine", "九十九万九千九百九十九"),
    ],
)
def test_numbers_are_written_as_people_write_them(number, english, chinese):
    assert (english_words(number), chinese_numeral(number)) == (english, chinese)


@given(NUMBERS)
def test_a_numeral_has_no_double_gap_and_none_at_an_end(number):
    text = chinese_numeral(number)
    assert "零零" not in text and "零万" not in text
    assert number == 0 or (text[0] != "零" and text[-1] != "零")


def test_number_pairs_hold_out_by_number_and_cover_every_length():
    split = number_pairs(seed=3)
    train, test = ({numeral_value(pair.target) for pair in part} for part in (split.train, split.test))
    assert len(train) == len(split.train) and len(test) == len(split.test) and not train & test
    assert len(train) + len(test) == 12_000 and set(range(1000)) <= train | test
    assert set(range(ALWAYS_TRAINED)) <= train
    assert len(test) == pytest.approx(2400, abs=10)
    counts = np.bincount([len(str(number)) for number in train | test])[4:]
    assert counts.max() - counts.min() <= 1
    assert number_pairs(seed=3) == split != number_pairs(seed=4)
    tokens = {token for pair in split.train for token in tokens_of(pair.source)}
    assert {token for pair in split.test for token in tokens_of(pair.source)} <= tokens


@given(st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)), st.integers(0, STYLES - 1))
def test_a_written_date_names_its_day(date, style):
    text = written_date(date, style)
    plain = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", re.sub(r"^\w+day, |\bof |\bthe |,", "", text))
    forms = ("%d %B %Y", "%B %d %Y", "%b %d %Y")
    parsed = []
    for form in forms:
        try:
            parsed.append(datetime.datetime.strptime(plain, form).date())
        except ValueError:
            continue
    assert parsed and set(parsed) == {date}
    if style == 4:
        assert text.startswith(date.strftime("%A"))


def test_ordinals_end_as_they_should():
    assert [f"{day}{ordinal_ending(day)}" for day in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30, 31)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "30th", "31st"]
    )


def test_date_pairs_hold_out_by_day_and_use_every_style():
    split = date_pairs(seed=1)
    train, test = ({pair.target for pair in part} for part in (split.train, split.test))
    assert len(train) == len(split.train) and len(test) == len(split.test) == 1600 and not train & test
    assert all(datetime.date.fromisoformat(day) for day in test)
    assert sum("of" in pair.source for pair in split.train) > 800
    assert date_pairs(seed=1) == split


def test_a_vocabulary_gives_back_what_it_was_given():
    texts = ["forty-two", "one hundred", "March the 3rd, 1999"]
    words = Vocabulary.of(texts)
    assert words.tokens[:3] == ("·", "<", ">") and (PAD, BOS, EOS) == (0, 1, 2)
    for row, text in zip(words.encode(texts), texts, strict=True):
        assert [words.tokens[number] for number in row if number != PAD] == tokens_of(text)
    assert tokens_of("Forty-two") == ["forty", "two"] and tokens_of("十二万") == ["十", "二", "万"]
    assert tokens_of("2024-03-05") == list("2024-03-05")
    with pytest.raises(ValueError, match="'three' in 'forty-three' is not in the vocabulary"):
        words.numbers("forty-three")


def test_a_teacher_moves_the_answer_by_one_place():
    signs = Vocabulary.of(["一二", "一"])
    reads, says = teacher_pairs(signs, ["一二", "一"])
    one, two = signs.numbers("一二")
    assert reads.tolist() == [[BOS, one, two], [BOS, one, PAD]]
    assert says.tolist() == [[one, two, EOS], [one, EOS, PAD]]
    assert signs.text([BOS, one, two, EOS, PAD]) == "一二"
    assert padded([[5], []], 2).tolist() == [[5, 0], [0, 0]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: english_words(1_000_000),
        lambda: chinese_numeral(-1),
        lambda: numeral_value("三X"),
        lambda: numeral_value(""),
        lambda: number_pairs(count=100),
        lambda: number_pairs(test_fraction=1.0),
        lambda: date_pairs(count=5),
        lambda: written_date(datetime.date(2000, 1, 1), 6),
    ],
)
def test_what_cannot_be_is_refused(call):
    with pytest.raises(ValueError):
        call()
