"""Mistakes that a person can mend."""


class CourseError(Exception):
    """Told to the person as one line: what was given, what was wanted, what to do. Never a traceback."""
