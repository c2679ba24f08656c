"""Networks in PyTorch and the parts that they are built of. Imports torch, numpy, and of the course its own room and those below."""
