"""A chapter of two quick exercises, for tests of grading. Trusted side."""

from autograder.checking import case, close, exercise


@exercise("tiny.double", points=2, seconds=2)
def double(student, rng):
    """Twice a number."""
    with case("a positive number"):
        close(student.double(3.0), 6.0)
    with case("a negative number"):
        close(student.double(-2.0), -4.0)
    with case("zero"):
        close(student.double(0.0), 0.0)


@double.wrong("squared", fails=("a positive number", "a negative number"))
def _(x):
    return x * x


@double.wrong("of the size only", fails="a negative number")
def _(x):
    return 2 * abs(x)


@double.right("by adding")
def _(x):
    return x + x


@exercise("tiny.largest", points=3, seconds=2, mends="all below zero")
def largest(student, rng):
    """The largest of some numbers."""
    with case("the last is the largest"):
        close(student.largest([1.0, 2.0, 5.0]), 5.0)
    with case("all below zero"):
        close(student.largest([-3.0, -1.0, -2.0]), -1.0)


@largest.wrong("starts from zero, as it was found", fails="all below zero")
def _(numbers):
    best = 0.0
    for number in numbers:
        best = max(best, number)
    return best


@largest.wrong("the last one", fails="all below zero")
def _(numbers):
    return numbers[-1]


@largest.wrong("the smallest", fails=("the last is the largest", "all below zero"))
def _(numbers):
    return min(numbers)


@largest.right("by sorting")
def _(numbers):
    return sorted(numbers)[-1]
