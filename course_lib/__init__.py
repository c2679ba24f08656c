"""Reference implementations of the course: small, readable, fast. Imports nothing of the grader."""
