"""Cutting prose into chunks: nothing lost, nothing too long, seams as large as can be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.chunking import chunks

PROSE = st.text(st.sampled_from("ab .!?\n\t…é"), max_size=400)


@given(PROSE | st.text(max_size=200), st.integers(1, 60))
def test_nothing_is_lost_and_nothing_is_too_long(text: str, limit: int) -> None:
    found = chunks(text, limit)
    assert all(1 <= len(chunk) <= limit for chunk in found)
    assert "".join("".join(found).split()) == "".join(text.split())


@given(PROSE, st.integers(10, 60))
def test_neighbours_share_a_chunk_while_they_fit(text: str, limit: int) -> None:
    found = chunks(text, limit)
    assert all(len(a) + len("\n\n") + len(b) > limit for a, b in pairwise(found))


def test_paragraphs_stay_whole_and_apart() -> None:
    text = "One paragraph here.\n\nA second one.\n \n\nThe third, which is longer than both."
    assert chunks(text, 40) == ["One paragraph here.\n\nA second one.", "The third, which is longer than both."]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    assert chunks("First sentence. Second sentence! Third?", 34) == ["First sentence. Second sentence!", "Third?"]


def test_a_long_sentence_is_cut_between_words_and_a_long_word_inside() -> None:
    assert chunks("alpha beta gamma", 10) == ["alpha beta", "gamma"]
    assert chunks("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


def test_lines_within_a_paragraph_are_kept() -> None:
    assert chunks("line one\nline two", 100) == ["line one\nline two"]


def test_white_space_alone_is_no_chunk() -> None:
    assert chunks(" \n\n\t ", 10) == []


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="limit must be >= 1"):
        chunks("text", 0)
