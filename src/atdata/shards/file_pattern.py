"""Patterns of the files that are written: one name, or one with `%d` in it, which stands for as many as it takes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from atdata.arguments import path_text
from atdata.errors import UsageError
from atdata.paths import checked_path
from atdata.shards.urls import scheme_of

_MARK = re.compile(r"%(0?\d{0,2}d|%|)")


@dataclass(frozen=True)
class FilePattern:
    """The files of one folder that a pattern stands for.

    Attributes:
        folder: where they are.
        name: `digits-%06d.tar`, or `digits.tar` for one file; `%%` is a percent sign.
        suffix: on which it ends.
    """

    folder: Path
    name: str
    suffix: str = ".tar"

    @classmethod
    def of(cls, pattern: str | os.PathLike[str], limited: bool, suffix: str = ".tar") -> FilePattern:
        """The files that a path stands for. Only a file's name has a number: `%` in a folder's name is a part of it.

        Args:
            pattern: a path.
            limited: whether there may be more than one file.
            suffix: on which it must end.

        Raises:
            UsageError: it does not, or has two numbers, or none though there may be several files; or no path can be so.
        """
        text = path_text(pattern)
        if isinstance(pattern, str) and (scheme_of(text) != "file" or text.lower().startswith("file://")):
            raise UsageError("path must be a local path, not a URL", expected=f"like digits-%06d{suffix}", actual=text)
        checked_path(text, home=False)
        head, name = os.path.split(text)
        marks, like = _MARK.findall(name), f"like digits-%06d{suffix}"
        holes = [mark for mark in marks if mark.endswith("d")]
        if len(holes) > 1 or "" in marks:
            raise UsageError("path must contain exactly one %d placeholder", expected=like, actual=text)
        if not name.endswith(suffix):
            compressed = f"{suffix}." in name or name.endswith(".tgz")
            hint = f"Files are not compressed as a whole; leave out what follows {suffix}." if compressed else None
            raise UsageError(f"path must end in {suffix}", expected=like, actual=text, hint=hint)
        if not holes and any(mark.endswith("d") for mark in _MARK.findall(head)):
            raise UsageError(
                "the %d placeholder must be in the file name, not in a folder name", expected=like, actual=text
            )
        if limited and not holes:
            raise UsageError(
                "path must contain a %d placeholder where several files may be written", expected=like, actual=text
            )
        return cls(Path(head), name, suffix)

    @property
    def numbered(self) -> bool:
        """True if the pattern has a number, and so may stand for several files."""
        return self(0) != self(1)

    def __call__(self, index: int) -> Path:
        """The file with a number."""
        return self.folder / _MARK.sub(lambda mark: "%" if mark[1] == "%" else mark[0] % index, self.name)

    def number(self, name: str) -> int | None:
        """The number in a file's name, in however many digits; `None` where it is not of these files."""
        match = self._pattern.fullmatch(name)
        return int("".join(match.groups()) or "0") if match else None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pieces, start = [], 0
        for mark in _MARK.finditer(self.name):
            pieces += [re.escape(self.name[start : mark.start()]), "%" if mark[1] == "%" else "([0-9]+)"]
            start = mark.end()
        return re.compile("".join([*pieces, re.escape(self.name[start:])]))
