"""Tells whether a solution is right, releases chapters, and grades classes."""
