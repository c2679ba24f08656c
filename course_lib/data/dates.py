"""Dates as people write them, and as ISO 8601 has them: "Tuesday, 5 March 2024" → 2024-03-05. Made here from a calendar and six ways of writing.

Only ways with one meaning are used: 05/03/2024 is March in one country and May in another, and no model could know which.
"""

import datetime

from course_lib.data.pairs import Pair, PairSplit
from course_lib.data.split import check_fraction, generator

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]  # as date.weekday() counts
FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
STYLES = 6


def written_date(date: datetime.date, style: int) -> str:
    """One of six ways to write a date, style 0 to 5, in English whatever the machine's language is."""
    day, month, year = date.day, MONTHS[date.month - 1], date.year
    ways = (
        f"{day} {month} {year}",
        f"{month} {day}, {year}",
        f"{month[:3]} {day}, {year}",
        f"{day}{ordinal_ending(day)} of {month} {year}",
        f"{WEEKDAYS[date.weekday()]}, {day} {month} {year}",
        f"{month} the {day}{ordinal_ending(day)}, {year}",
    )
    if not 0 <= style < STYLES:
        raise ValueError(f"style must lie between 0 and {STYLES - 1}, got {style}")
    return ways[style]


def ordinal_ending(day: int) -> str:
    """st, nd, rd or th."""
    return "th" if 10 < day % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def date_pairs(count: int = 8_000, test_fraction: float = 0.2, seed: int = 0) -> PairSplit:
    """Written dates → ISO dates, held out by date: `count` different days of 1900 to 2099, each written in one way, drawn at random."""
    check_fraction(test_fraction)
    span = (LAST - FIRST).days + 1
    if not 10 <= count <= span:
        raise ValueError(f"count must lie between 10 and {span}, got {count}")
    rng = generator(seed)
    days = [FIRST + datetime.timedelta(days=day) for day in rng.choice(span, size=count, replace=False).tolist()]
    pairs = [Pair(written_date(day, style), day.isoformat()) for day, style in zip(days, rng.integers(STYLES, size=count).tolist(), strict=True)]
    held_out = round(test_fraction * count)
    return PairSplit(pairs[held_out:], pairs[:held_out])
