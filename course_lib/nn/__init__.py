"""What chapters build in torch, one concept a file or folder. Imports torch and numpy and nothing else."""
