"""The Transformer of Vaswani et al. (2017): attention, positions, masks, encoder, decoder, loss, learning rate, decoding. One concept a file."""
