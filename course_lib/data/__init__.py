"""Every data set of the course: seeded, documented, offline by default."""

from course_lib.data.digits import digits
from course_lib.data.glyphs import Pictures, glyphs
from course_lib.data.messy import messy_patients
from course_lib.data.patients import patients
from course_lib.data.pictures import pictures
from course_lib.data.prose import prose, prose_split
from course_lib.data.split import Split, stratified_split
from course_lib.data.tables import Table, breast_cancer, standardised
from course_lib.data.toy import moons, spirals

__all__ = [
    "Pictures",
    "Split",
    "Table",
    "breast_cancer",
    "digits",
    "glyphs",
    "messy_patients",
    "moons",
    "patients",
    "pictures",
    "prose",
    "prose_split",
    "spirals",
    "standardised",
    "stratified_split",
]
