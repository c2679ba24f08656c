"""How well can the next character be guessed? A ladder of models: each a distribution over V characters, judged by its surprise on held-out text.

uniform_loss   knows how many characters there are
unigram_loss   knows how often each occurs
bigram_loss    knows how often each follows each
CharModel      reads everything so far, as much of it as its state can hold (Mikolov et al., 2010, "Recurrent neural network based language model")

Losses are in nats a character; divide by log 2 for bits. Counts are smoothed by adding one to each (Laplace), so that nothing is impossible.

Dimensions: V characters, L of them in a text, N rows, T steps, E width of a character's vector, H units.
"""

import math
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["RNN", "GRU", "LSTM"]


def uniform_loss(num_characters: int) -> float:
    """log V."""
    return math.log(num_characters)


def unigram_loss(train: np.ndarray, test: np.ndarray, num_characters: int) -> float:
    """Mean surprise at the characters of test (L,), each by its smoothed share of train."""
    counts = np.bincount(train, minlength=num_characters) + 1.0
    return float(-np.log(counts / counts.sum())[test].mean())


def bigram_loss(train: np.ndarray, test: np.ndarray, num_characters: int) -> float:
    """Mean surprise at the characters of test, from the second on, each by the smoothed share with which it follows the one before it in train."""
    counts = np.ones((num_characters, num_characters))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    surprise = -np.log(counts / counts.sum(axis=1, keepdims=True))  # (V, V): row before, column after
    return float(surprise[test[:-1], test[1:]].mean())


class CharModel(nn.Module):
    """A vector for each character, a recurrent layer that reads them, and a score for each character that might come next."""

    def __init__(self, num_characters: int, width: int, hidden: int, kind: Kind = "LSTM"):
        super().__init__()
        self.embedding = nn.Embedding(num_characters, width)
        self.reader = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}[kind](width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_characters)

    def forward(self, ids: Tensor, targets: Tensor | None = None, state: Any = None) -> tuple[Tensor, Tensor | None, Any]:
        """ids (N, T), targets (N, T) or None, state of the characters before or None → (logits (N, T, V), mean loss or None, state after)."""
        states, state = self.reader(self.embedding(ids), state)  # (N, T, H)
        logits = self.head(states)
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss, state
