"""Every data set of the course: seeded, documented, offline by default."""
