"""Recurrent networks in torch: cells and layers, sequences of unequal length, a language model of characters, and a test of memory."""
