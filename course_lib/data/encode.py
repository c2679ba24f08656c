"""Text, categories and pictures to numbers.

What must be learnt from data (a vocabulary, a list of categories) is learnt from the training rows alone.

Dimensions: N rows, V words, K categories.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

WORD = re.compile(r"\w\w+")  # scikit-learn's: two or more letters, digits or underscores


def count_words(train_texts: Sequence[str], texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """A bag of words: how often each word of the training texts occurs in each text.

    → (vocabulary, counts): the V different words of train_texts in lower case, sorted, and an int64 array (N, V) for the N texts.
    Words that no training text has are not counted.
    """
    vocabulary = sorted({word for text in train_texts for word in WORD.findall(text.lower())})
    found = [Counter(WORD.findall(text.lower())) for text in texts]
    counts = np.array([[words[word] for word in vocabulary] for words in found], dtype=np.int64)
    return vocabulary, counts.reshape(len(texts), len(vocabulary))


def one_hot(train_values: Sequence, values: Sequence) -> tuple[list, np.ndarray]:
    """One column for each category: (the K categories of train_values, sorted; float64 (N, K) of 0 and 1). An unknown one is all 0."""
    categories = sorted(set(train_values))
    return categories, np.array([[float(value == category) for category in categories] for value in values]).reshape(len(values), len(categories))


def pixels(images: np.ndarray) -> np.ndarray:
    """Pictures of whole numbers 0 to 255 → float32 rows between 0 and 1: (N, ...) → (N, product of the rest)."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8, 0 to 255, got {images.dtype}")
    return images.reshape(len(images), -1).astype(np.float32) / 255
