"""Comparisons that say what is wrong. Trusted side.

Each raises `Mismatch` with a message for the student: what kind of thing came, where it is worst, where NaN starts, and what the
difference looks like (a flipped sign, a constant factor, a transpose). No message contains an expected value of a hidden draw.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autograder.checking.cases import Mismatch, StudentError
from autograder.checking.student import PLAIN, Handle, is_tensor, kind_of

TOLERANCES = {"float16": (1e-2, 1e-3), "bfloat16": (2e-2, 1e-3), "float32": (1e-4, 1e-6), "complex64": (1e-4, 1e-6)}  # relative, absolute
FLOAT64_TOLERANCE = (1e-7, 1e-9)
RARE = 5  # outcomes expected less often than this are counted together, or chi-square would not hold


def close(actual: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None, dtype: bool = False) -> None:
    """Numbers, arrays, tensors, or tuples, lists and dicts of them agree within a tolerance.

    rtol, atol  |actual - expected| ≤ atol + rtol·|expected|; by default 1e-7 and 1e-9, wider where `expected` has fewer bits than float64 or
                `actual` is float32
    dtype       also demand the dtype of `expected`
    """
    _close(actual, expected, "the result", rtol, atol, dtype)


def same(actual: Any, expected: Any, what: str = "the result") -> None:
    """Exactly equal: integers, strings, booleans, and arrays, lists, tuples and dicts of them."""
    if isinstance(expected, np.ndarray) or is_tensor(expected):
        wanted, found = _pair(actual, expected, what)
        wrong = np.argwhere(~((found == wanted) | (_isnan(found) & _isnan(wanted))))
        if len(wrong):
            where = "" if wanted.ndim == 0 else f" in {len(wrong)} of {wanted.size} places, first at {_index(wrong[0])}"
            raise Mismatch(f"{_capital(what)} differs{where}.")
    elif isinstance(expected, list | tuple):
        _sequence(actual, expected, what)
        for position, (one, other) in enumerate(zip(actual, expected, strict=True)):
            if type(one) is str and type(other) is str and one == other:  # most of what is compared, in no time
                continue
            same(one, other, f"item {position} of {what}")
    elif isinstance(expected, Mapping):
        _keys(actual, expected, what)
        for key in expected:
            same(actual[key], expected[key], f"{what}[{key!r}]")
    else:
        plain, wanted = _plain(actual), _plain(expected)
        if isinstance(plain, bool) != isinstance(wanted, bool) or type(plain) not in PLAIN or (plain is None and wanted is not None):
            raise Mismatch(f"{_capital(what)} should be {kind_of(wanted) if wanted is not None else 'None'}, got {kind_of(actual)}.", kind=True)
        if plain != wanted and (plain == plain or wanted == wanted):  # NaN is NaN
            raise Mismatch(f"{_capital(what)} is {_brief(plain)}, which is not right.")


def gradient(actual: Any, function: Callable[[np.ndarray], float], at: np.ndarray, *, rtol: float = 1e-5) -> None:
    """`actual` is the gradient of the scalar `function` at the float64 array `at`, by central differences."""
    point = np.array(at, dtype=np.float64)
    slopes = np.empty_like(point)
    for index in np.ndindex(point.shape):
        value, step = point[index], 1e-5 * max(1.0, abs(point[index]))
        point[index] = value + step
        above = function(point)
        point[index] = value - step
        slopes[index] = (above - function(point)) / (2 * step)
        point[index] = value
    _close(actual, slopes, "the gradient", rtol, rtol * max(1e-3, float(np.abs(slopes).max(initial=0.0))), dtype=False)


def distribution(samples: Any, probabilities: Sequence[float], *, significance: float = 1e-4) -> None:
    """Samples 0 … K-1 follow `probabilities` (K,), by a chi-square test. A right sampler fails once in 1/significance runs."""
    from scipy import special  # here, so that the commands start without it

    drawn = _array(samples, "the sample").ravel()
    whole = _is_numeric(drawn) and not np.iscomplexobj(drawn) and bool((drawn % 1 == 0).all())
    if not (whole and (drawn >= 0).all() and (drawn < len(probabilities)).all()):
        raise Mismatch(f"Samples must be whole numbers from 0 to {len(probabilities) - 1}.")
    weights = np.asarray(probabilities, dtype=np.float64)
    expected = weights / weights.sum() * drawn.size
    counts = np.bincount(drawn.astype(int), minlength=len(expected))
    if counts[expected == 0].any():
        raise Mismatch(f"{int(np.flatnonzero((expected == 0) & (counts > 0))[0])} was drawn, though its probability is zero.")
    rare = expected < RARE
    if rare.all():
        raise Mismatch(f"{drawn.size:,} samples are too few to judge.")
    found, wanted = counts[~rare], expected[~rare]
    if expected[rare].any():
        found, wanted = np.append(found, counts[rare].sum()), np.append(wanted, expected[rare].sum())
    p_value = float(special.chdtrc(len(found) - 1, ((found - wanted) ** 2 / wanted).sum())) if len(found) > 1 else 1.0
    if p_value < significance:
        worst = int(np.argmax(np.abs(counts - expected) / np.sqrt(np.maximum(expected, 1e-12))))
        often = "often" if counts[worst] > expected[worst] else "rarely"
        raise Mismatch(
            f"{drawn.size:,} samples do not follow the distribution (chi-square p = {p_value:.1e}); "
            f"{worst} comes too {often}: {counts[worst]:,} times."
        )


def accuracy(values: Iterable[float], *, over: float) -> None:
    """The mean of per-seed accuracies (fractions) reaches `over`."""
    found = np.array([_scalar(value, "an accuracy") for value in values])
    _no_nan(found, "the accuracies")
    if not found.size:
        raise Mismatch("There are no accuracies.")
    if found.max() > 1:
        raise Mismatch(f"An accuracy is {found.max():.4g}; accuracies are fractions from 0 to 1.")
    if found.mean() < over:
        each = ", ".join(f"{value:.1%}" for value in found)
        raise Mismatch(f"Mean accuracy over {len(found)} seeds is {found.mean():.1%} ({each}); at least {over:.1%} is wanted.")


def at_least(actual: Any, bound: float, what: str = "the result") -> None:
    """A number is no smaller than a stated bound."""
    if not (value := _scalar(actual, what)) >= bound:
        raise Mismatch(f"{_capital(what)} is {value:.4g}; at least {bound:.4g} is wanted.")


def at_most(actual: Any, bound: float, what: str = "the result") -> None:
    """A number is no larger than a stated bound."""
    if not (value := _scalar(actual, what)) <= bound:
        raise Mismatch(f"{_capital(what)} is {value:.4g}; at most {bound:.4g} is wanted.")


def finite(actual: Any, what: str = "the result") -> None:
    """No NaN and no infinity."""
    array = _array(actual, what)
    _no_nan(array, what)
    if not np.isfinite(array).all():
        raise Mismatch(f"{_capital(what)} is infinite, first at {_index(np.argwhere(~np.isfinite(array))[0])}.")


def holds(condition: Any, message: str) -> None:
    """A property in the check's own words: `message` says what is wrong when `condition` is false."""
    if not isinstance(condition, bool | np.bool_):
        raise TypeError(f"holds() takes a bool, got {type(condition).__name__}")
    if not condition:
        raise Mismatch(message)


def raises(kind: str, call: Callable[[], Any], when: str) -> None:
    """The student's code refuses with an exception of type name `kind`; `when` completes "… must be raised when"."""
    try:
        call()
    except StudentError as error:
        if error.kind != kind:
            raise Mismatch(f"Expected {kind} when {when}; got {error.kind}.") from None
        return
    raise Mismatch(f"{kind} must be raised when {when}; nothing was raised.")


def inputs_unchanged(student: Any) -> None:
    """The last call left its arguments as they were."""
    if student.last_changed:
        raise Mismatch(f"Argument number {student.last_changed[0] + 1} was changed in place: the caller's array now holds something else.")


def is_object(value: Any) -> bool:
    """Is it an object that stays with the student, and not plain data?"""
    return isinstance(value, Handle)


def _close(actual: Any, expected: Any, what: str, rtol: float | None, atol: float | None, dtype: bool) -> None:
    if isinstance(expected, list | tuple):
        _sequence(actual, expected, what)
        for position, (one, other) in enumerate(zip(actual, expected, strict=True)):
            _close(one, other, f"item {position} of {what}", rtol, atol, dtype)
        return
    if isinstance(expected, Mapping):
        _keys(actual, expected, what)
        for key in expected:
            _close(actual[key], expected[key], f"{what}[{key!r}]", rtol, atol, dtype)
        return
    wanted, found = _pair(_within_floats(actual), _within_floats(expected), what)
    if dtype and (given := _dtype(actual, found)) != (right := _dtype(expected, wanted)):
        raise Mismatch(f"{_capital(what)} has dtype {given}; {right} is wanted.")
    if not _is_numeric(found):
        raise Mismatch(f"{_capital(what)} should hold numbers, got dtype {found.dtype}.")
    relative, absolute = _tolerance(actual, expected)
    relative, absolute = relative if rtol is None else rtol, absolute if atol is None else atol
    found, wanted = found.astype(_wide(found)), wanted.astype(_wide(wanted))
    _no_nan(found, what, wanted)
    if (filled := _isnan(wanted) & ~_isnan(found)).any():
        first = "" if found.ndim == 0 else f", first at {_index(np.argwhere(filled)[0])} ({int(filled.sum())} of {found.size})"
        raise Mismatch(f"{_capital(what)} is a number where NaN (not a number) is wanted{first}.")
    with np.errstate(all="ignore"):
        alike = (found == wanted) | (np.isnan(found) & np.isnan(wanted))  # equal infinities differ by nothing
        error = np.where(alike, 0.0, np.nan_to_num(np.abs(found - wanted), nan=np.inf, posinf=np.inf))
        allowed = absolute + relative * np.where(np.isfinite(wanted), np.abs(wanted), 0.0)
        if not (error > allowed).any():
            return
        worst = np.unravel_index(int(np.argmax(error - allowed)), error.shape)
        wrong = int((error > allowed).sum())
        where = "" if error.ndim == 0 else f" at {_index(worst)}; {wrong} of {error.size} elements {'is' if wrong == 1 else 'are'} wrong"
        size = f"off by {error[worst]:.1g}" if np.isfinite(error[worst]) else "infinitely far off"
        raise Mismatch(f"{_capital(what)} is {size}{where} (allowed: {allowed[worst]:.0e}).{_looks_like(found, wanted, allowed)}")


def _within_floats(value: Any) -> Any:
    """A whole number of Python that no integer of NumPy holds, as a float; everything else as it is."""
    if not isinstance(value, int) or -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:  # not even a float holds it
        return value


def _pair(actual: Any, expected: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, (wanted, found), of the same shape and on the same side of the line between NumPy and torch."""
    if is_tensor(expected) and not is_tensor(actual):
        raise Mismatch(f"{_capital(what)} should be a tensor, got {kind_of(actual)}.", kind=True)
    wanted, found = _array(expected, "expected"), _array(actual, what, tensor_allowed=is_tensor(expected))
    _same_shape(found, wanted, what)
    return wanted, found


def _looks_like(found: np.ndarray, wanted: np.ndarray, allowed: np.ndarray) -> str:
    """Names the simple ways in which a wrong array can be related to the right one, each only if mending it would make everything right."""
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()) or not wanted.any():
        return ""
    strict = np.minimum(allowed, 0.01 * np.abs(wanted).max())

    def agree(candidate: np.ndarray) -> bool:
        return bool((np.abs(candidate - wanted) <= strict).all())

    yours = "Your value is" if wanted.size == 1 else "All your values are"
    if not found.any():
        return f" {yours} zero."
    if agree(-found):
        return f" {yours} right but for the sign."
    if found.ndim == 2 and found.shape[0] == found.shape[1] and agree(found.T):
        return " Your values are those of the transpose."
    if np.count_nonzero(wanted) > 1:
        factor = float(np.vdot(found, wanted).real / np.vdot(found, found).real)
        if agree(factor * found):
            return f" All your values are wrong by the same factor{_named_factor(1 / factor)}."
        if agree(found + (wanted - found).mean()):
            return " All your values are off by the same amount."
        if agree(np.flip(found)):
            return " Your values are in reverse order."
    return ""


def _named_factor(times: float) -> str:
    """How many times too large; said only of whole numbers and their inverses, which tell of a sum or mean and not of the values."""
    for ratio, words in ((times, "too large"), (1 / times, "too small")):
        if 2 <= abs(ratio) < 1000 and abs(ratio - round(ratio)) < 1e-3:
            return f": {abs(round(ratio))} times {words}" + (", and of the wrong sign" if ratio < 0 else "")
    return ""


def _array(value: Any, what: str, tensor_allowed: bool = True) -> np.ndarray:
    if value is None:
        raise Mismatch(f"{_capital(what)} is None. Is a `return` missing?", kind=True)
    if is_tensor(value):
        if not tensor_allowed:
            raise Mismatch(f"{_capital(what)} should be a NumPy array or number, got a torch tensor.")
        plain = value.detach().cpu().resolve_conj().resolve_neg()
        return (plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy()
    if isinstance(value, np.ndarray | np.generic | bool | int | float | complex):
        return np.asarray(value)
    if isinstance(value, list):
        try:
            array = np.asarray(value)
        except ValueError:
            raise Mismatch(f"{_capital(what)} should be an array, got a list of uneven parts.") from None
        if array.dtype != object:
            return array
    raise Mismatch(f"{_capital(what)} should be an array or a number, got {kind_of(value)}.", kind=True)


def _scalar(value: Any, what: str) -> float:
    array = _array(value, what)
    if array.size != 1 or not _is_numeric(array) or np.iscomplexobj(array):
        raise Mismatch(f"{_capital(what)} should be one number, got {kind_of(value)}.")
    return float(array.reshape(()))


def _same_shape(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    if found.shape == wanted.shape:
        return
    extra = ""
    if found.shape == wanted.shape[::-1]:
        extra = " It looks transposed."
    elif found.size == wanted.size:
        extra = " The number of elements is right."
    elif any(found.shape[:axis] + found.shape[axis + 1 :] == wanted.shape for axis in range(found.ndim)):
        extra = " There is one axis too many: is a sum or mean over it missing?"
    wanted_shape = "one number" if wanted.ndim == 0 else f"shape {wanted.shape}"
    raise Mismatch(f"{_capital(what)} has shape {found.shape}; {wanted_shape} is wanted.{extra}")


def _no_nan(found: np.ndarray, what: str, wanted: np.ndarray | None = None) -> None:
    bad = _isnan(found) if wanted is None else _isnan(found) & ~_isnan(wanted)
    if bad.any():
        first = "" if found.ndim == 0 else f", first at {_index(np.argwhere(bad)[0])} ({int(bad.sum())} of {found.size})"
        if wanted is not None and _isnan(wanted).any():  # where NaN has its places, it was not computed but written
            raise Mismatch(f"{_capital(what)} is NaN (not a number) where a number is wanted{first}.")
        raise Mismatch(f"{_capital(what)} is NaN (not a number){first}. NaN comes from 0/0, inf-inf, inf/inf, 0·inf, or log of a negative number.")


def _sequence(actual: Any, expected: Sequence, what: str) -> None:
    if not isinstance(actual, list | tuple):
        raise Mismatch(f"{_capital(what)} should be {len(expected)} values (a tuple), got {kind_of(actual)}.", kind=True)
    if len(actual) != len(expected):
        raise Mismatch(f"{_capital(what)} should have {len(expected)} items, got {len(actual)}.")


def _keys(actual: Any, expected: Mapping, what: str) -> None:
    if not isinstance(actual, Mapping):
        raise Mismatch(f"{_capital(what)} should be a dict, got {kind_of(actual)}.", kind=True)
    if missing := [key for key in expected if key not in actual]:
        raise Mismatch(f"{_capital(what)} lacks the key {missing[0]!r}; its keys are {_brief(sorted(map(str, actual)))}.")
    if extra := [key for key in actual if key not in expected]:
        raise Mismatch(f"{_capital(what)} has a key too many: {_brief(extra[0])}.")


def _tolerance(actual: Any, expected: Any) -> tuple[float, float]:
    """Fewer bits than float32 count on the expected side alone, or a student could buy a wide tolerance by rounding."""
    given, wanted = (TOLERANCES.get(str(getattr(value, "dtype", "")).removeprefix("torch."), FLOAT64_TOLERANCE) for value in (actual, expected))
    return max(wanted, min(given, TOLERANCES["float32"]))


def _dtype(value: Any, array: np.ndarray) -> str:
    """The name of the dtype as the student knows it; `array` holds the same values in NumPy."""
    return str(value.dtype) if is_tensor(value) else str(array.dtype)


def _is_numeric(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.number) or array.dtype == bool


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0) else value


def _wide(array: np.ndarray) -> type:
    return np.complex128 if np.issubdtype(array.dtype, np.complexfloating) else np.float64


def _isnan(array: np.ndarray) -> np.ndarray:
    return np.isnan(array) if np.issubdtype(array.dtype, np.inexact) else np.zeros(array.shape, dtype=bool)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _index(index: Iterable[Any]) -> str:
    return "[" + ", ".join(str(int(part)) for part in index) + "]"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
