"""Blocks of pages that are made of records: from `<!-- NAME -->` to `<!-- end -->`, with hand-written text between."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from lowbit.atomic import write_text

BLOCK = re.compile(r"(<!-- ([a-z0-9-]+) -->\n).*?(<!-- end -->)", flags=re.S)


def blocks(page: Path) -> list[str]:
    """Names of the blocks of a page, in order."""
    return [match[2] for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def refresh(page: Path, text: Callable[[str], str], *, check: bool) -> int:
    """Write every block anew, or look whether one is out of date.

    Args:
        page: Markdown.
        text: of a block by its name, ending with a line break.
        check: write nothing.

    Returns:
        1 if `check` found a stale block, else 0.
    """
    before = page.read_text(encoding="utf-8")
    after = BLOCK.sub(lambda match: match[1] + text(match[2]) + match[3], before)
    if not check:
        write_text(page, after)
    elif after != before:
        print(f"{page.name} is out of date: python scripts/{Path(sys.argv[0]).name}", file=sys.stderr)
        return 1
    return 0
