"""The main job on a small folder that has everything a real one might have; and what the demo says when it cannot start."""

import sys
from pathlib import Path

import pytest

PYTHON = Path(__file__).resolve().parent / "python"


@pytest.fixture
def demo(program):
    """The whole demo."""
    return lambda *arguments: program(sys.executable, "demo.py", *arguments, cwd=PYTHON)


@pytest.fixture
def count(program):
    """The word count alone; the divisors take long, and have no input."""
    code = "import demo, sys; sys.exit(not demo.count_words(sys.argv[1], 2))"
    return lambda folder: program(sys.executable, "-c", code, folder, cwd=PYTHON)


def fill(folder):
    (folder / "plain.txt").write_text("The baton, the sash; THE relay don't end\n")
    (folder / "utf-8.txt").write_text("na\u00efve Stra\u00dfe \u8986 \U0001f3c3 x86_64")
    (folder / "latin-1.txt").write_bytes("na\u00efve \u00e9t\u00e9".encode("latin-1"))
    (folder / "utf-16.txt").write_bytes("zero bytes: binary".encode("utf-16"))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "zero late.bin").write_bytes(b"word " * 2000 + b"\0word\0")
    (folder / "long.txt").write_bytes(b"relay baton " * 200_000)
    (folder / "one word.txt").write_bytes(b"a" * (1 << 20) + b"b" * 100)
    (folder / "exactly one piece.txt").write_bytes(b"abcdefg " * (1 << 17))
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file").write_text("deeper")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "left out").write_text("cached")
    (folder / "link to nowhere").symlink_to("nowhere")
    (folder / "circle").symlink_to(folder)


def test_all_ways_to_count_agree(count, tmp_path):
    fill(tmp_path)
    found = count(tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert "all 6 results are identical" in found.stdout
    assert "533091 words, 18 different" in found.stdout


def test_a_folder_without_text(count, tmp_path):
    (tmp_path / "binary").write_bytes(b"\0\1\2")
    found = count(tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == f"demo: there is no text in {tmp_path}\n"


def test_no_such_folder(demo, tmp_path):
    found = demo(tmp_path / "nowhere")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == f"demo: cannot read the folder {tmp_path}/nowhere: No such file or directory\n"


def test_a_file_instead_of_a_folder(demo, tmp_path):
    (tmp_path / "file").write_text("words")
    found = demo(tmp_path / "file")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == f"demo: cannot read the folder {tmp_path}/file: Not a directory\n"
