"""Every data set of the course: seeded, documented, offline by default."""

from course_lib.data.digits import digits
from course_lib.data.messy import messy_patients
from course_lib.data.patients import patients
from course_lib.data.prose import prose, prose_split
from course_lib.data.split import Split, stratified_split
from course_lib.data.tables import Table, breast_cancer, standardised
from course_lib.data.toy import moons, spirals

__all__ = [
    "Split",
    "Table",
    "breast_cancer",
    "digits",
    "messy_patients",
    "moons",
    "patients",
    "prose",
    "prose_split",
    "spirals",
    "standardised",
    "stratified_split",
]
