"""Networks in PyTorch and the parts that they are built of. Imports torch and numpy, and of the course the rooms below it alone."""
