"""Networks in PyTorch: convolutional, recurrent, attention, Transformers."""
