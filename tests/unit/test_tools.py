"""The tools: prose out of pages, and files that are too long."""

from __future__ import annotations

from pathlib import Path

from tools.check_file_size import too_long
from tools.demo.corpus import choose, prose

PAGE = """<html><head><title>Not this, however long the title of it may be, for it is none of the prose</title></head>
<body><div class="navheader"><p>Previous page, next page, up, home, and all of that kind of thing here</p>
<div>inner</div></div><h1>A heading</h1><p>The first paragraph says something
that is long enough.</p><ul><li><p>An item of a list is prose too, when it is as long as this.</p></li></ul>
<pre>a listing of some program which is not prose and must be left out here</pre><p>Short.</p></body></html>"""


def test_prose_has_no_navigation_listing_or_label() -> None:
    assert prose(PAGE).split("\n\n") == [
        "The first paragraph says something that is long enough.",
        "An item of a list is prose too, when it is as long as this.",
    ]


def test_chapters_are_taken_until_there_is_enough() -> None:
    texts = {"one": "a a a.\n\nb b b.", "two": "c c c.\n\nd d d.", "three": "e e e."}
    assert list(choose(texts, 3, 8)) == [("one", "a a a.\n\nb b b."), ("two", "c c c.")]


def test_a_file_of_300_lines_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/right.py").write_text("x = 1\n" * 299)
    (tmp_path / "src/wrong.py").write_text("x = 1\n" * 300)
    assert too_long(tmp_path) == [(Path("src/wrong.py"), 300)]
