"""A notebook by a stranger becomes one that is safe to walk through, whatever ids it claims."""

import json

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.engine.unit import read_notebook

IDS = st.one_of(st.none(), st.integers(), st.sampled_from(["put-1", "put-2", "put-first", "put-0-back", "a", "b", "cell-1", "a b", "ä", "x" * 65]))


def notebook_of(ids) -> bytes:
    return json.dumps({"cells": [{"cell_type": "code", "source": "1", "metadata": {}, "id": identity} for identity in ids]}).encode()


@given(st.lists(IDS, max_size=12))
def test_every_cell_has_an_id_of_its_own_and_none_of_the_engines_is_taken(ids):
    cells = read_notebook(notebook_of(ids))["cells"]
    found = [cell["id"] for cell in cells]
    assert len(set(found)) == len(ids)
    assert all(identity.startswith("put-") for identity, claimed in zip(found, ids, strict=True) if identity != claimed)
    assert not {"put-first"} & set(found) and not [identity for identity in found if identity.endswith("-back")]


def test_a_notebook_that_is_read_is_valid_for_nbformat():
    cell = {"cell_type": "code", "source": ["a = 1\n", "\udcff"], "outputs": "none", "metadata": [1], "execution_count": "x", "more": 1, "id": 3}
    notebook = read_notebook(json.dumps({"cells": [cell, {"cell_type": "markdown"}], "nbformat": 2}).encode())
    nbformat.validate(nbformat.from_dict(notebook))
    assert notebook["cells"][0]["source"] == "a = 1\n?"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "no list of cells"),
        (b'{"cells": {}}', "no list of cells"),
        (b'{"cells": [1]}', "cell 1 is no cell"),
        (b'{"cells": [{"cell_type": "heading"}]}', "cell 1 is no cell"),
        (b'{"cells": [{"cell_type": "code", "source": 1}]}', "no text"),
        (b"\xff\xfe{", "not text in UTF-8"),
        (b"[" * 300_000, "not JSON"),
        (b"{" * 500_000, "parts"),
        (b" " * (21 * 2**20), "bytes"),
        (json.dumps({"cells": [{"cell_type": "raw"}] * 2_001}).encode(), "cells"),
    ],
    ids=lambda value: value[:12].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_what_is_no_notebook_is_refused_with_the_reason(data, why):
    with pytest.raises(ValueError, match=why):
        read_notebook(data)
