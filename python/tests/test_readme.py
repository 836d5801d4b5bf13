"""What the documents say is so: README's table of names and its first programs, and every link."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import pytest

import tasuki

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def is_made_by_a_context(name: str) -> bool:
    value = getattr(tasuki, name)
    return name[0].isupper() and not (isinstance(value, type) and issubclass(value, Exception))


def test_the_table_is_what_the_engine_says() -> None:
    table = README.partition("<!-- engine -->")[2].partition("\n\n")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| (engine|standard library) \|$", table, flags=re.M))
    names = filter(is_made_by_a_context, {*multiprocessing.__all__, *tasuki.ENGINE})
    assert shown == {name: "engine" if name in tasuki.ENGINE else "standard library" for name in names}


@pytest.mark.parametrize("path", ["examples/python/hello.py", "examples/rust/src/bin/hello.rs"])
def test_the_first_programs_are_the_tested_examples(path: str) -> None:
    shown = re.search(rf"<!-- {path} -->\n```\w+\n(.*?)```\n", README, flags=re.S)
    # The example has a line on top for the reader of its folder, which README says in its own words.
    _, _, program = (ROOT / path).read_text().partition("\n\n")
    assert shown is not None and shown[1] == program


@pytest.mark.parametrize("document", sorted(path.name for path in ROOT.glob("*.md")))
def test_links_lead_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text()):
        assert (ROOT / link).exists(), f"{document} links to {link}"
