"""What the README promises is there."""

import re

import typer.main

from autograder import cli
from autograder.release.chapters import ROOT, chapters, notebook_path

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_calls_here_just_the_chapters_that_have_a_source():
    rows = re.findall(r"^\| (\d\d) \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert len(rows) == 19
    assert {number for number, _, state in rows if state == "**here**"} == {chapter.number for chapter in chapters()}


def test_a_chapter_that_is_here_is_linked_to_its_notebook():
    for chapter in chapters():
        assert f"({notebook_path(chapter).relative_to(ROOT).as_posix()})" in README


def test_every_command_in_the_tables_exists():
    commands = {name: set(typer.main.get_command(getattr(cli, name)).commands) for name in ("course", "autograder")}  # pyright: ignore[reportAttributeAccessIssue]
    named = re.findall(r"`(course|autograder) ([a-z]+)", README)
    assert len(named) >= 8
    for program, command in named:
        assert command in commands[program], f"{program} {command}"


def test_every_make_target_in_the_text_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b +[#|`]|`make ([a-z]+)`", README))
    for pair in re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", README, re.MULTILINE):
        assert next(filter(None, pair)) in targets


def test_every_file_that_is_shown_or_linked_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
