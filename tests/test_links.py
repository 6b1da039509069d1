"""Every link of the documentation to a file or heading of the project leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support import PROJECT

LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)|^\[[^]]+\]:\s*<?(\S+?)>?\s*$|(?:src|href)=\"([^\"]+)\"", re.M
)
CODE = re.compile(r"^(```+|~~~+).*?^\1|`[^`\n]+`", re.M | re.S)
HEADING = re.compile(r"^#+\s+(.+?)\s*#*$", re.M)


def pages(project: Path) -> list[Path]:
    folders = ("docs", "step_library", "step_instances", "tests")
    return [*project.glob("*.md"), *(p for f in folders for p in (project / f).rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The names under which GitHub shows the headings of a page."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def broken_links(page: Path) -> Iterator[str]:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for groups in LINK.findall(text):
        link = unquote("".join(groups))
        name, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", name):
            continue
        target = page.parent / name if name else page
        if not target.exists():
            yield f"{page}: {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{page}: {link}: no such heading"


def test_every_link_leads_somewhere() -> None:
    assert [link for page in pages(PROJECT) for link in broken_links(page)] == []


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("[there](other%20page.md#the-end-of-it)", None),
        ("[here](#a-start)", None),
        ("[out](https://example.org/x.md#y)", None),
        ("`[code](none.md)`", None),
        ("[gone](none.md)", "no such file"),
        ("![picture](none.svg)", "no such file"),
        ('<img src="none.svg">', "no such file"),
        ("[gone]\n\n[gone]: none.md", "no such file"),
        ("[gone](other%20page.md#none)", "no such heading"),
    ],
)
def test_the_proof_notices(tmp_path: Path, link: str, reason: str | None) -> None:
    (tmp_path / "other page.md").write_text("# First\n\n## The `end`, of it\n")
    (tmp_path / "README.md").write_text(f"# A start\n\n{link}\n")
    found = [each for page in pages(tmp_path) for each in broken_links(page)]
    assert (len(found) == 1 and reason in found[0]) if reason else found == []
