"""A page of docs/ walked through as a reader does: its files written, its commands run, its answers compared.

A fenced block after a line that is nothing but a path in backquotes and a colon is that file. In a block ``console``
each line with ``$ `` is a command, what follows is its answer: numbers, uuids and blanks may differ, ``...`` stands for
any lines, ``…`` for anything in a line.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:^`(?P<path>[^`\n]+)`[^`\n]*:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
# as words.lasting says it
DURATION = re.compile(r"\b\d+ d( \d+ h)?\b|\b\d+ h( \d+ min)?\b|\b\d+ min( \d+ s)?\b|\b\d+(\.\d+)? s\b")
LOOKS = re.compile(
    r"queuemaster (status|why|jobs (show|list)|channel \w+$|check)|^curl |^cat |/queuemaster status$|^grep "
)
PATIENCE = 60.0


@dataclass(frozen=True)
class File:
    """What the reader is to write."""

    path: str
    text: str


@dataclass(frozen=True)
class Command:
    """What the reader is to type, and what the page says that comes of it."""

    line: int
    text: str
    answer: tuple[str, ...]


def steps(page: str) -> Iterator[File | Command]:
    """Everything that a reader does, in order."""
    for block in BLOCK.finditer(page):
        line = page[: block.start("text")].count("\n") + 1
        if block["path"]:
            yield File(block["path"], block["text"])
        elif block["kind"] == "console":
            yield from _commands(block["text"].splitlines(), line)


def _commands(lines: list[str], first: int) -> Iterator[Command]:
    starts = [index for index, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Command(first + start, lines[start][2:], tuple(lines[start + 1 : end]))


class Shell:
    """One shell for the whole walk, so that what one command sets the next one has."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment, cwd=directory,
        )  # fmt: skip

    def run(self, command: str) -> list[str]:
        """What a command says on both of its streams."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{command}\necho; echo '--- the end of it'\n")
        process.stdin.flush()
        answer_lines = []
        for line in process.stdout:
            if line == "--- the end of it\n":
                break
            answer_lines.append(line.rstrip("\n"))
        return answer_lines[:-1] if answer_lines[-1:] == [""] else answer_lines

    def close(self) -> None:
        """End it; what it started in the background goes on."""
        self._process.communicate("exit\n", timeout=PATIENCE)


def walk(shell: Shell, command: Command) -> None:
    """Run a command. One that only looks is asked again until it says what the page says: readers are slower."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer_lines = shell.run(command.text)
        missing = next(_missing(command.answer, answer_lines), None)
        if missing is None:
            return
        if not LOOKS.search(command.text) or time.monotonic() > deadline:
            shown = "\n".join(answer_lines)
            raise AssertionError(f"line {command.line}: $ {command.text}\nnot said: {missing}\nbut:\n{shown}")
        time.sleep(0.2)


def _missing(expected: tuple[str, ...], answer_lines: list[str]) -> Iterator[str]:
    """Lines of the page that did not come, in their order. Without ``...`` none may come between."""
    remaining = [_plain(line) for line in answer_lines]
    anywhere = False
    for line in expected:
        if line == "...":
            anywhere = True
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in _plain(line).split("…")))
        index = next((index for index, other in enumerate(remaining) if pattern.fullmatch(other)), None)
        if index is None or (index and not anywhere):
            yield line
            return
        remaining, anywhere = remaining[index + 1 :], False


def _plain(line: str) -> str:
    """What of a line does not differ from one run to the next."""
    steady = DURATION.sub("0 s", UUID.sub("UUID", line))
    return " ".join(re.sub(r"\d+(\.\d+)?", "0", steady).split())
