"""Networks in PyTorch and the parts that they are built of. Imports torch and numpy, and nothing of the course but its own room and the rooms below."""
