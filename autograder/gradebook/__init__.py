"""A class: its folder, grading, nbgrader's gradebook, reports, and a planted class that proves the whole. Trusted side."""
