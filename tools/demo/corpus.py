"""Make a corpus of real prose: chapters of the Debian package debian-faq, fetched at run time, as text files."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from orchestrator.cli.chunking import chunks

PACKAGE = "debian-faq"
CHAPTERS = "usr/share/doc/debian/FAQ/*.en.html"
NOT_PROSE = frozenset({"index.en.html", "faqinfo.en.html"})
BLOCKS = frozenset({"p", "li", "dd", "dt", "h1", "h2", "h3", "h4"})
SKIPPED = frozenset({"head", "script", "style", "pre", "table"})
NAVIGATION = re.compile(r"navheader|navfooter|toc")
SHORTEST = 40  # shorter pieces are menus and labels


class Prose(HTMLParser):
    """Collects the paragraphs of a page, without its navigation, tables and listings."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self._words: list[str] = []
        self._depth = 0  # of what is skipped
        self._skipping = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a paragraph, or something to skip."""
        if self._skipping:
            self._depth += tag == self._skipping
        elif tag in SKIPPED or (tag == "div" and NAVIGATION.search(dict(attrs).get("class") or "")):
            self._end_paragraph()
            self._skipping, self._depth = tag, 1
        elif tag in BLOCKS:
            self._end_paragraph()

    def handle_endtag(self, tag: str) -> None:
        """End a paragraph, or what was skipped."""
        if self._skipping:
            self._depth -= tag == self._skipping
            if not self._depth:
                self._skipping = ""
        elif tag in BLOCKS:
            self._end_paragraph()

    def handle_data(self, data: str) -> None:
        """Collect text."""
        if not self._skipping:
            self._words.append(data)

    def _end_paragraph(self) -> None:
        text = " ".join("".join(self._words).split())
        self._words = []
        if len(text) >= SHORTEST:
            self.paragraphs.append(text)


def prose(html: str) -> str:
    """Return the prose of a page, a blank line between paragraphs."""
    page = Prose()
    page.feed(html)
    page.close()
    return "\n\n".join(page.paragraphs)


def fetch(directory: Path) -> list[Path]:
    """Return the chapters of the package, fetched into the directory when they are not there yet."""
    if not list(directory.glob(CHAPTERS)):
        directory.mkdir(parents=True, exist_ok=True)
        # apt fetches as the user _apt when it may write here
        get = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", PACKAGE]
        if subprocess.run(get, cwd=directory, check=False, capture_output=True).returncode:
            subprocess.run(["apt-get", "-qq", "update"], check=True)
            subprocess.run(get, cwd=directory, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(directory.glob("*.deb"))), str(directory)], check=True)
    return sorted(p for p in directory.glob(CHAPTERS) if p.name not in NOT_PROSE)


def choose(texts: dict[str, str], wanted: int, chunk_chars: int) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of chapters that make `wanted` chunks together; the last one is cut short."""
    left = wanted
    for name, text in texts.items():
        pieces = chunks(text, chunk_chars)[:left]
        left -= len(pieces)
        if pieces:
            yield name, "\n\n".join(pieces)


def main() -> int:
    """Write the corpus and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path, help="where the package is kept")
    parser.add_argument("corpus", type=Path, help="where the text files go; what is there already is replaced")
    parser.add_argument("--chunks", type=int, default=64)
    parser.add_argument("--chunk-chars", type=int, default=1200)
    given = parser.parse_args()
    try:
        chapters = fetch(given.cache)
    except subprocess.CalledProcessError as error:
        print(f"corpus: {' '.join(error.cmd)} failed; check the network and apt's sources", file=sys.stderr)
        return 1
    texts = {p.name.removesuffix(".en.html"): prose(p.read_text(encoding="utf-8")) for p in chapters}
    given.corpus.mkdir(parents=True, exist_ok=True)
    for old in given.corpus.glob("*.txt"):
        old.unlink()
    found = dict(choose(texts, given.chunks, given.chunk_chars))
    for name, text in found.items():
        (given.corpus / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    count = sum(len(chunks(text, given.chunk_chars)) for text in found.values())
    print(f"{count} chunks of prose from {len(found)} chapters of {PACKAGE}")
    if count < given.chunks:
        print(f"corpus: {PACKAGE} holds only {count} chunks, {given.chunks} were wanted", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
