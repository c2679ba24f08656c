"""Everything that chapters build in NumPy alone. Imports numpy and nothing else."""
