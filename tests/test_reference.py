"""The reference is complete, and names nothing that is not there."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from atdata import errors
from atdata.cli import app
from atdata.errors import MissingExtraError
from atdata.settings import Settings

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
FACES = ("atdata", *re.findall(r"`(atdata(?:\.\w+)+)`", (REFERENCE / "api.md").read_text("utf-8").split("\n\n")[1]))

# What methods of public classes give, and is for atdata's own use: no promise is made about it.
INSIDE = {
    "atdata.atproto.net.session.Account": "AtmosphereClient.session",
    "atdata.dataset.view.View": "Dataset.view",
    "atdata.lens.language.binding.BoundStep": "Program.bind",
    "atdata.samples.kinds.kind.FieldType": "what a sample type declares",
    "atdata.testing.devnet.accounts.PdsAccount": "the servers of a Devnet",
    "atdata.testing.devnet.pds.Pds": "the servers of a Devnet",
    "atdata.testing.http.Answer": "the servers of a Devnet",
}


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


def table(text: str, header: str) -> list[list[str]]:
    """The rows of the table that begins with a header."""
    rows = text.split(f"\n| {header} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def spelled(cells: Iterable[str]) -> list[str]:
    return [name for cell in cells for name in re.findall("`([^`]+)`", cell)]


# --- Python


@cache
def documented() -> dict[str, Any]:
    """What the reference describes, by its home: objects, and for a module its public classes and functions."""
    found: dict[str, Any] = {}
    for path in REFERENCE.glob("*.md"):
        for name in re.findall(r"^::: ([\w.]+)$", path.read_text("utf-8"), re.MULTILINE):
            thing = resolved(name)
            found |= {home(each): each for each in (public(thing) if inspect.ismodule(thing) else [thing])}
    return found


def resolved(name: str) -> Any:
    """The module or object with a dotted name.

    Raises:
        AttributeError: there is none.
    """
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("atdata"):
                raise
            continue
        for part in parts[count:]:
            thing = getattr(thing, part)
        return thing
    raise AttributeError(name)


def home(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def public(module: types.ModuleType) -> list[Any]:
    own = [each for each in vars(module).values() if getattr(each, "__module__", None) == module.__name__]
    return [each for each in own if inspect.isclass(each) and not each.__name__.startswith("_")]


def given(thing: Any) -> Iterator[type]:
    """The classes that a class's public methods, or a function, give; of a port, also those they take."""
    functions = [thing] if inspect.isfunction(thing) else []
    for base in thing.__mro__ if inspect.isclass(thing) else ():
        for name, member in vars(base).items() if base.__module__.startswith("atdata.") else ():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if inspect.isfunction(function) and (name[0] != "_" or name in ("__getitem__", "__iter__", "__call__")):
                functions.append(function)
    port = getattr(thing, "_is_protocol", False)
    for function in functions:
        names = {**imported(inspect.getsourcefile(function)), **function.__globals__}
        for name, hint in function.__annotations__.items():
            if port or name == "return":
                yield from classes(eval(hint, names) if isinstance(hint, str) else hint)


@cache
def imported(path: str) -> dict[str, Any]:
    """What a module imports, for annotations only too; `Any` for the classes of optional drivers."""
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(Path(path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.asname or each.name: types.SimpleNamespace(Table=Any, DataFrame=Any) for each in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("atdata"):
            with contextlib.suppress(MissingExtraError):
                module = importlib.import_module(str(node.module))
                found |= {each.asname or each.name: getattr(module, each.name) for each in node.names}
    return found


def classes(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        yield from [hint] if hint.__module__.split(".")[0] == "atdata" else []
        return
    for part in (typing.get_origin(hint), *typing.get_args(hint)):
        yield from classes(part) if part is not None and part is not hint else ()


def reached(roots: dict[str, Any]) -> dict[str, Any]:
    """Some things, and all that their methods give, and so on; but for what is inside."""
    found, pending = dict(roots), list(roots.values())
    while pending:
        for each in given(pending.pop()):
            if home(each) not in found and not each.__name__.startswith("_"):
                found[home(each)] = each
                if home(each) not in INSIDE:
                    pending.append(each)
    return found


@cache
def faced() -> dict[str, Any]:
    faces = [importlib.import_module(face) for face in FACES]
    things = [getattr(face, name) for face in faces for name in face.__all__]
    return {home(each): each for each in things if home(each).startswith("atdata.")}  # an alias has no home


def test_every_public_name_is_in_the_reference():
    assert len(faced()) > 40
    assert sorted(faced().keys() - documented().keys()) == []


def test_what_public_methods_give_is_in_the_reference():
    whole = reached(faced())
    assert sorted(whole.keys() - documented().keys() - INSIDE.keys()) == []
    assert INSIDE.keys() <= whole.keys()
    assert INSIDE.keys().isdisjoint(documented())


def test_nothing_else_is_in_the_reference():
    listed = {home(resolved(name)) for name in spelled(row[0] for row in table(page("ports.md"), "port"))}
    doctor = {"atdata.doctor.examine", "atdata.doctor.Finding"}  # a module with one use case
    known = reached(faced() | {name: resolved(name) for name in (*listed, *doctor)})
    raised = {name for name in documented() if name.endswith(("Error", "Warning"))}
    assert sorted(documented().keys() - known.keys() - raised) == []


def test_every_error_is_in_the_reference():
    family, pending = set(), [errors.AtdataError, errors.AtdataWarning]
    while pending:
        cls = pending.pop()
        if cls.__module__.startswith("atdata."):
            family.add(home(cls))
        pending += cls.__subclasses__()
    raised = {name for name, each in documented().items() if inspect.isclass(each) and issubclass(each, Exception)}
    assert raised == family


def test_every_name_that_a_module_lists_is_there():
    found = [path for path in (ROOT / "src").rglob("*.py") if "__all__" in path.read_text("utf-8")]
    assert len(found) > 10
    for path in found:
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(name)
        assert [each for each in module.__all__ if not hasattr(module, each)] == []


def test_dotted_names_in_documents_and_docstrings_lead_somewhere():
    """Names of atdata in backticks, on any page but decisions, which tell of what was; and in what the code says of itself."""
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "decisions"]
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in [*pages, ROOT / "README.md"]}
    for path in (ROOT / "src").rglob("*.py"):
        said = [
            ast.get_docstring(node) or "" for node in ast.walk(ast.parse(path.read_text("utf-8"))) if documents(node)
        ]
        texts[str(path.relative_to(ROOT))] = "\n".join(said)
    missing = []
    for where, text in texts.items():
        for name in re.findall(r"`(atdata(?:\.\w+)+)(?:\(.*?\))?`", text):
            try:
                resolved(name)
            except AttributeError:
                missing.append((where, name))
    assert missing == []


def documents(node: ast.AST) -> bool:
    return isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)


# --- the command line


def commands(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    if path == () or getattr(command, "commands", None) is None or len(command.params) > 0:
        yield " ".join(("atdata", *path)), command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, *path, name)


COMMANDS = {name: command for name, command in commands(app) if command.params}


def help_of(command: Any) -> list[list[str]]:
    """What `--help` says, a row for each argument."""
    rows = []
    for each in command.params:
        named = [*each.opts, *each.secondary_opts] if each.param_type_name == "option" else [each.name.upper()]
        rows.append([", ".join(f"`{name}`" for name in named), each.help])
    return rows


def test_every_command_has_its_options_in_the_reference_in_the_words_of_its_help():
    sections = re.split(r"^### `(.+)`$", page("cli.md"), flags=re.MULTILINE)
    told = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert told.keys() == COMMANDS.keys()
    for name, command in COMMANDS.items():
        first = " ".join(command.help.strip().split("\n\n")[0].split())
        assert (name, told[name].strip().split("\n\n")[0]) == (name, first)
        assert (name, table(told[name], "argument")) == (name, help_of(command))


def test_the_list_of_commands_has_each_command_once():
    cells = spelled(row[0] for row in table(page("cli.md"), "command"))
    listed, group = [], ""
    for cell in cells:
        words = [word for word in cell.split() if re.fullmatch("[a-z]+", word)]
        if words[0] == "atdata":
            group = words[1]
            listed.append(" ".join(words))
        else:
            listed.append(f"atdata {group} {words[0]}")
    assert sorted(listed) == sorted(name for name in COMMANDS if name != "atdata")


def test_options_that_any_page_names_are_options_of_that_command():
    wrong = []
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        text = path.read_text("utf-8")
        for name, command in COMMANDS.items() - {("atdata", COMMANDS.get("atdata"))}:
            options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
            for line in re.findall(rf"(?:`|^\$ ){name}\b([^`\n]*)", text, re.MULTILINE):
                wrong += [
                    (path.name, name, each) for each in re.findall(r"(?<=\s)--[\w-]+", line) if each not in options
                ]
    assert wrong == []


# --- settings


def read_variables() -> set[str]:
    """The environment's variables that the code names: texts in capitals, in modules that ask the environment or file."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        code = path.read_text("utf-8")
        asks = "os.environ" in code or path.name == "credentials.py"
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                pattern = r"[A-Z][A-Z0-9_]{3,}" if asks and "testing" not in path.parts else r"ATDATA_[A-Z_]+"
                found |= {node.value} if re.fullmatch(pattern, node.value) else set()
    return found


def test_every_variable_that_is_read_is_in_the_reference_and_no_other():
    text = page("settings.md")
    tables = [
        *table(text, "variable | argument | default"),
        *table(text, "variable | read by"),
        *table(text, "variable | what it decides"),
    ]
    assert set(spelled(row[0] for row in tables)) == read_variables()


def test_every_setting_is_in_the_reference_with_its_argument_and_default():
    rows = table(page("settings.md"), "variable | argument | default")
    assert sorted(row[1] for row in rows) == sorted(f"`{name}=`" for name in inspect.signature(Settings.of).parameters)
    for variable, argument, default, _ in rows:
        name = argument.strip("`=")
        assert variable == f"`ATDATA_{name.upper()}`"
        value = getattr(Settings(), f"{name}s" if name in ("resolver_url", "appview_url") else name)
        said = {False: "off", None: "none", (): "none", Path(): f"the platform's {name} folder"}
        shown = f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
        assert (name, default) == (name, said.get(value, shown) if value is not None else "none")


# --- extras


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_extra_is_in_the_reference_with_what_it_brings():
    declared = {
        extra: [re.sub(r"(?<=\w)(\[(binary|data)\])?[<>=].*", "", each) for each in needed]
        for extra, needed in project()["optional-dependencies"].items()
    }
    rows = table(page("extras.md"), "extra")
    assert {row[0].strip("`"): spelled([row[1]]) for row in rows} == declared


def test_every_extra_that_code_or_a_page_names_is_declared():
    named: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        named |= set(re.findall(r'MissingExtraError\.of\(\s*"(\w+)"', path.read_text("utf-8")))
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        named |= {
            each for some in re.findall(r"atdata\[([\w,]+)\]'", path.read_text("utf-8")) for each in some.split(",")
        }
    assert {"atmosphere", "s3", "redis"} <= named <= project()["optional-dependencies"].keys()
