"""Samples of strangers, decoded in a process of their own that can only compute and answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import msgspec

from atdata.errors import CodeError
from atdata.preview.decoding_worker import MODULES
from atdata.preview.shown import PreviewLimits, ShownSample
from atdata.sandbox import Sandbox, SandboxLimits
from atdata.shards.index import SampleMembers

_ENTRY = "atdata.preview.decoding_worker:answer"
_LIMITS = SandboxLimits(seconds=10.0, memory=1 << 30, answers=1 << 24)
_LINE = re.compile(r"(?:[ML][0-9]{1,3}\.[0-9] [0-9]{1,2}\.[0-9]){0,200}")
_PNG = b"\x89PNG\r\n\x1a\n"


def decoded(
    samples: Sequence[bytes],
    schema: Mapping[str, Any] | None,
    layout: Mapping[str, str] | None,
    limits: PreviewLimits,
) -> tuple[ShownSample, ...]:
    """Samples as they are shown, each decoded and drawn in a process that starts for them, and ends.

    Args:
        samples: as they are stored.
        schema: the JSON Schema of their type; `None` where it is not known.
        layout: the files that fields stand in, where a sample is one file a field.
        limits: what may be looked at, and shown.

    Raises:
        SandboxError: no sandbox can be had here.
        CodeError: they crash it, or take too much.
    """
    said = msgspec.json.encode([schema, dict(layout or {}), *astuple(limits)])
    marked = [(b"m" if isinstance(sample, SampleMembers) else b"p") + sample for sample in samples]
    sandbox = Sandbox("showing samples", _ENTRY, MODULES, _LIMITS)
    try:
        ((answer,),) = sandbox.call([[said, *marked]])
        found = msgspec.json.decode(answer, type=tuple[ShownSample, ...])
        _check(found, len(samples), limits)
        return found
    except (ValueError, msgspec.MsgspecError) as error:
        raise CodeError("showing samples failed in its sandbox", reason="answer", actual=str(error)) from error
    finally:
        sandbox.close()


def _check(found: Sequence[ShownSample], count: int, limits: PreviewLimits) -> None:
    """Refuse an answer that our own code does not give.

    Raises:
        ValueError: it is one.
    """
    values = [value for sample in found for _, value in sample.values]
    pictures = [value.picture.png for value in values if value.picture is not None]
    small = all(max(v.picture.width, v.picture.height) <= limits.side for v in values if v.picture is not None)
    if len(found) > count or not small or not all(png.startswith(_PNG) for png in pictures):
        raise ValueError("pictures or samples that were not asked for")
    if sum(map(len, pictures)) > limits.pictures + 8 * limits.side**2:
        raise ValueError("more pictures than were asked for")
    if not all(_LINE.fullmatch(value.line) for value in values):
        raise ValueError("lines that are none")
