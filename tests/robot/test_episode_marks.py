"""Promise: the book of a recording's episodes takes what fits, and says what does not."""

from __future__ import annotations

import pytest

from mqe_core.robot.episode_marks import DISCARD, LABEL, MOST_LABEL_BYTES, START, STOP, EpisodeBook


@pytest.fixture
def book() -> EpisodeBook:
    return EpisodeBook()


def test_episodes_are_counted_as_they_are_marked(book: EpisodeBook) -> None:
    assert not book.is_open and book.newest is None
    assert book.mark(START, "", 1.0) == "episode 1 begins" and book.is_open
    assert book.mark(STOP, "", 3.5) == "episode 1 is kept, 2.5 s" and not book.is_open
    book.mark(START, "", 5.0)
    assert (book.kept, book.discarded) == (1, 0)
    assert book.mark(DISCARD, "", 6.0) == "episode 2 is discarded"
    assert (book.kept, book.discarded) == (1, 1) and not book.is_open
    book.mark(START, "", 7.0)
    book.mark(LABEL, "a cup", 7.5)
    book.mark(STOP, "", 8.0)
    assert [(one.number, one.start, one.stop, one.label) for one in book.episodes if not one.is_discarded] == [
        (1, 1.0, 3.5, ""),
        (3, 7.0, 8.0, "a cup"),
    ]


@pytest.mark.parametrize(
    ("before", "mark", "words"),
    [
        ([], STOP, "there is no episode to stop"),
        ([], DISCARD, "there is no episode to discard"),
        ([], LABEL, "there is no episode to label"),
        ([START], START, "episode 1 is being recorded"),
        ([START, STOP], STOP, "episode 1 has ended already"),
        ([START, DISCARD], STOP, "there is no episode to stop"),
        ([START, DISCARD], DISCARD, "there is no episode to discard"),
        ([], "jump" * 1000, "'jumpjumpjumpjumpjump' is no mark"),
    ],
)
def test_what_does_not_fit_is_said_and_changes_nothing(
    book: EpisodeBook, before: list[str], mark: str, words: str
) -> None:
    for earlier in before:
        book.mark(earlier, "", 1.0)
    state = (book.kept, book.discarded, book.is_open)
    with pytest.raises(ValueError, match=words):
        book.mark(mark, "words", 2.0)
    assert (book.kept, book.discarded, book.is_open) == state


@pytest.mark.parametrize("label", ["", "  ", "two\nlines", "\x00", "x" * (MOST_LABEL_BYTES + 1), "x" * 1_000_000])
def test_a_label_that_is_none_is_refused(book: EpisodeBook, label: str) -> None:
    book.mark(START, "", 1.0)
    with pytest.raises(ValueError, match="label"):
        book.mark(LABEL, label, 2.0)
    assert book.newest is not None and book.newest.label == ""
