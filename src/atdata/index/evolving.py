"""Versions of schemas: whether a new one may come after those there are, and under which number."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from atdata.errors import CompatibilityError, ConflictError, LimitError, SchemaError, UsageError
from atdata.index.ports import Named
from atdata.records import Schema, Version, is_semver
from atdata.schema import CompatibilityMode, SchemaComparison, Step, check_mode, compare, is_transitive


def choose_schema(named: Named[Schema], draft: Schema, version: str | None) -> Schema:
    """The schema of a content among those listed under its name, or the draft, under the version it would have.

    The draft is held to the mode that it says, or else to that of the version it comes after, and keeps it for those to come.

    Args:
        named: those of the draft's name.
        draft: what to list.
        version: by default the newest that has this content, else the one that follows the newest by what has changed.

    Raises:
        ConflictError: the version stands for other content.
        CompatibilityError: it would break readers whom the mode protects; `path` names the field.
        UsageError: the mode asks for a higher version, or is not known here.
        LimitError: no version comes after the newest.
    """
    if version is None:
        last = named.newest()  # first: what is listed after this look takes the next version, and is noticed
        if found := named.of_content(draft.index_keys.content):
            return found
        if last is None:
            return replace(draft, version="1.0.0")
        mode = _mode(draft, last)
        _check(named.all() if is_transitive(mode) else [last], draft, mode)
        return replace(draft, version=next_after(last.version, _step(last, draft)), compatibility=_kept(draft, last))
    draft, taken = replace(draft, version=version), named.of_version(version)
    if taken is not None and taken.index_keys.content != draft.index_keys.content:
        raise ConflictError(
            f"the schema {draft.name} {version} stands for other content",
            uri=taken.uri,
            expected=str(taken.identity),
            actual=str(draft.identity),
            hint="What was published stays; give the new fields a new version.",
        )
    if taken is not None:
        return taken
    before = [schema for schema in named.all() if Version.parse(schema.version) < Version.parse(version)]
    if not before:
        return draft
    mode = _mode(draft, before[0])
    _check(before if is_transitive(mode) else before[:1], draft, mode)
    if mode != "none":
        _check_number(before[0], draft)
    return replace(draft, compatibility=_kept(draft, before[0]))


def next_after(version: str, step: Step | None) -> str:
    """The version that follows another one after a change.

    A version to come itself (`2.0.0-rc.1`) is followed by the final one where that is a large enough step. Before 1.0.0, where
    nothing is promised yet, each step is one smaller, as ranges of versions have it: `^0.2.1` ends at 0.3.0.

    Raises:
        LimitError: no version comes after it.
    """
    if not is_semver(version):
        return "1.0.0"
    parsed = Version.parse(version)
    major, minor, patch = parsed.numbers
    if step == "major" and major == 0:
        step = "minor"
    elif step == "minor" and major == 0:
        step = "patch"
    if step == "major":
        after = (major + (parsed.final or bool(minor or patch)), 0, 0)
    elif step == "minor":
        after = (major, minor + (parsed.final or bool(patch)), 0)
    else:
        after = (major, minor, patch + parsed.final)
    text = ".".join(map(str, after))
    if not is_semver(text):
        raise LimitError(f"there is no {step or 'patch'} version after this one", actual=version, hint="Choose one.")
    return text


def _mode(draft: Schema, last: Schema) -> CompatibilityMode:
    """The mode that a draft is held to."""
    if draft.compatibility is not None:
        return check_mode(draft.compatibility)
    if last.compatibility is None:
        return "none"
    with suppress(UsageError):
        return check_mode(last.compatibility)
    raise UsageError(
        f"the schema {last.name} is kept to a mode of compatibility that is not known here",
        uri=last.uri,
        path="compatibility",
        actual=repr(last.compatibility)[:80],
        hint="Say one: compat=...; it is kept from then on.",
    )


def _kept(draft: Schema, last: Schema) -> object:
    return last.compatibility if draft.compatibility is None else draft.compatibility


def _comparison(before: Schema, after: Schema) -> SchemaComparison:
    return compare(before.sample_schema, after.sample_schema)


def _step(before: Schema, after: Schema) -> Step | None:
    """The part of the number that a change raises: of what cannot be compared, the first."""
    try:
        return _comparison(before, after).step
    except SchemaError:
        return "major"


def _check(history: Sequence[Schema], draft: Schema, mode: CompatibilityMode) -> None:
    """Refuse a draft that would break readers whom a mode protects.

    Raises:
        CompatibilityError: it would.
    """
    for schema in history if mode != "none" else ():
        facts = {"uri": schema.uri, "expected": f"{mode} compatibility with {schema.version}"}
        try:
            found = _comparison(schema, draft)
        except SchemaError as error:
            raise CompatibilityError(
                f"the schema {draft.name} cannot be compared with its version {schema.version}",
                path=error.path,
                actual=error.what,
                hint='Say compat="none" to publish it all the same.',
                **facts,
            ) from error
        if fields := found.breaking(mode):
            raise CompatibilityError(
                f"the schema {draft.name} would break readers: {fields[0].name}",
                path=", ".join(field.name for field in fields),
                actual="; ".join(f"{field.name} {field.reason}" for field in fields)[:500],
                hint='Keep the field as it was and add an optional one, or publish under another name, or with compat="none".',
                **facts,
            )


def _check_number(before: Schema, draft: Schema) -> None:
    """Refuse a version that promises more than is kept.

    Raises:
        UsageError: it does.
    """
    step = _step(before, draft)
    least = next_after(before.version, step)
    if step is not None and Version.parse(draft.version).numbers < Version.parse(least).numbers:
        raise UsageError(
            f"the version {draft.version} says less than has changed since {before.version}",
            path="version",
            expected=f"{least} or higher, for a {step} change",
            actual=draft.version,
            hint="Leave the version out, and the right one is chosen.",
        )
