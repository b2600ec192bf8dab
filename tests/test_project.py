"""What stands around the code agrees with it: versions, dependencies, workflows, forms and citation."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import atdata

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
NOT_IMPORTED = {"webdataset"}
"""What is required and not imported: docs/decisions/0028-webdataset-is-installed.md says why."""


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def files(*patterns: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern))


WORKFLOWS = files(".github/workflows/*")
FORMS = [name for name in files(".github/ISSUE_TEMPLATE/*") if not name.endswith("config.yml")]


def python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


# -- the version


def test_the_version_has_one_source() -> None:
    assert atdata.__version__ == metadata.version("atdata") == PROJECT["project"]["version"]
    assert read("CITATION.cff")["version"] == atdata.__version__


def test_the_version_is_looked_up_when_it_is_asked_for() -> None:
    modules = "'importlib.metadata' in sys.modules"
    program = f"import sys, numpy, msgspec; before = {modules}; import atdata; print(before, {modules})"
    assert python(program) in ("False False", "True True")
    assert python("import atdata; print('__version__' in vars(atdata), atdata.__version__)").startswith("False ")


def test_a_tree_that_was_never_installed_has_no_version() -> None:
    assert python("import importlib.metadata, sys, atdata; sys.path.clear(); print(atdata.__version__)") == "0+unknown"


def test_the_command_line_says_its_version() -> None:
    done = subprocess.run([sys.executable, "-m", "atdata", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"atdata {atdata.__version__}\n", "")


# -- the versions of Python


def test_all_say_the_same_versions_of_python() -> None:
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert named == PYTHONS
    wanted = SpecifierSet(PROJECT["project"]["requires-python"])
    assert next(minor for minor in range(30) if f"3.{minor}" in wanted) == int(PYTHONS[0].partition(".")[2])
    assert read(".github/workflows/check.yml")["jobs"]["check"]["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["tool"]["cibuildwheel"]["build"] == [f"cp{version.replace('.', '')}-*" for version in PYTHONS]
    oldest = PYTHONS[0].replace(".", "")
    assert PROJECT["tool"]["distutils"]["bdist_wheel"]["py_limited_api"] == f"cp{oldest}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest}"
    assert PROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]


# -- dependencies


def imported() -> set[str]:
    """The top-level names of the modules that `src` imports, wherever in a file, but for type checkers alone."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in running(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    return found


def running(node: ast.AST) -> Iterator[ast.AST]:
    """A tree without what stands under `if TYPE_CHECKING`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from running(other)
        else:
            yield from running(child)


def requirements(texts: list[str]) -> list[Requirement]:
    return [Requirement(text) for text in texts]


def test_what_is_required_is_imported_and_what_is_imported_is_required() -> None:
    project, distributions = PROJECT["project"], metadata.packages_distributions()
    providers = {name: {canonicalize_name(one) for one in distributions.get(name, [name])} for name in imported()}
    core = {canonicalize_name(one.name) for one in requirements(project["dependencies"])}
    extras = [one for texts in project["optional-dependencies"].values() for one in requirements(texts)]
    required = core | {canonicalize_name(one.name) for one in extras} - {"atdata"}
    assert required - set().union(*providers.values()) == NOT_IMPORTED
    foreign = providers.keys() - sys.stdlib_module_names - {"atdata"}
    assert {name for name in foreign if not providers[name] & required} == set()


def locked_versions(name: str) -> dict[str, str]:
    """The versions that a lock names; of several for different Pythons the one for the oldest."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text("utf-8")
    found = re.findall(r"^([a-z0-9._-]+)(?:\[[a-z0-9, -]+\])?==([^\s;]+)", text, re.MULTILINE)
    return {package: min((one for other, one in found if other == package), key=Version) for package, _ in found}


def locked_requirements(name: str) -> list[Requirement]:
    """The requirements of pyproject.toml that a lock is made for."""
    project, options = PROJECT["project"], module("dev").LOCKS[name]
    texts = [*project["dependencies"]]
    for option, value in zip(options[:-1:2], options[1::2], strict=True):
        if option == "--extra":
            texts += project["optional-dependencies"][value]
        elif option == "--group":
            texts += PROJECT["dependency-groups"][value]
    for one in requirements(texts):
        if one.name == "atdata":
            texts += [text for extra in one.extras for text in project["optional-dependencies"][extra]]
    return [one for one in requirements(texts) if one.name != "atdata"]


@pytest.mark.parametrize("name", ["run", "dev", "frameworks", "lowest"])
def test_a_lock_holds_what_is_required(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text("utf-8")
    for entry in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    locked = locked_versions(name)
    for one in locked_requirements(name):
        assert locked[canonicalize_name(one.name)] in one.specifier, one


def test_the_lowest_versions_are_the_lowest_that_are_allowed() -> None:
    locked = locked_versions("lowest")
    for one in locked_requirements("lowest"):
        bounds = [bound.version for bound in one.specifier if bound.operator == ">="]
        assert len(bounds) == 1, one
        assert f"{locked[canonicalize_name(one.name)]}.".startswith(f"{bounds[0]}."), one


# -- workflows, hooks, verbs


def commands(value: Any) -> list[str]:
    """The shell commands in a workflow."""
    if isinstance(value, dict):
        own = [value["run"]] if "run" in value else []
        return own + [one for part in value.values() for one in commands(part)]
    return [one for part in value for one in commands(part)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_only_and_ends(name: str) -> None:
    workflow = read(name)
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "jobs"}  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 90
        assert job["runs-on"]
        for wanted in [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", []):
            assert wanted in workflow["jobs"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            if "uses" in step:
                assert re.fullmatch(r"(actions|pypa)/[a-z-]+@(v\d+|release/v\d+)", step["uses"])
            if str(step.get("uses")).startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}
    for command in commands(workflow):  # nothing that a stranger may choose
        for expression in re.findall(r"\$\{\{(.*?)\}\}", command):
            assert set(re.findall(r"[a-z]+\.[a-z_]+", expression)) <= {
                "matrix.python",
                "matrix.runner",
                "github.ref_type",
            }


def test_the_workflow_runs_what_everybody_runs() -> None:
    jobs = read(".github/workflows/check.yml")["jobs"]
    assert ".ci/run" in commands(jobs["check"])
    assert "python3 dev.py release --dry-run" in commands(jobs["release"])
    assert "python3 dev.py test --lowest" in commands(jobs["lowest"])
    run = (ROOT / ".ci" / "run").read_text("utf-8")
    loops = re.findall(r"^ *for verb in (.*); do$", run, re.MULTILINE)
    checked = {verb for loop in loops for verb in loop.split()} | set(
        re.findall(r"^python3 dev\.py ([a-z]+)", run, re.MULTILINE)
    )
    assert checked <= set(module("dev").VERBS)
    source = (ROOT / "dev.py").read_text("utf-8")
    named = re.search(r"for name in \((.*?)\) if VERBS", source)
    assert named
    assert set(re.findall(r'"([a-z]+)"', named[1])) <= checked


def test_every_verb_that_is_named_is_there() -> None:
    verbs = set(module("dev").VERBS)
    found: dict[str, set[str]] = {}
    for name in files(
        "*.md", ".pre-commit-config.yaml", ".github/**/*.*", "docs/**/*.md", ".ci/*", "dev.py", "mkdocs.yml"
    ):
        for verb in re.findall(r"dev\.py ([a-z]+)", (ROOT / name).read_text("utf-8")):
            found.setdefault(verb, set()).add(name)
    assert {verb: names for verb, names in found.items() if verb not in verbs} == {}
    assert ".github/workflows/check.yml" in found["release"]


def test_a_verb_that_a_hook_runs_does_not_write_to_its_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    program = "import os, sys; sys.exit('GIT_DIR' in os.environ or os.environ['OTHER'] != '1')"
    assert module("dev").run(sys.executable, "-c", program, env={"OTHER": "1"}) == 0


def test_hooks_are_verbs() -> None:
    config = read(".pre-commit-config.yaml")
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    assert len({hook["id"] for hook in hooks}) == len(hooks)
    for hook in hooks:
        assert {"id", "name", "entry", "language", "pass_filenames", "stages"} <= set(hook)
        assert (hook["language"], hook["pass_filenames"]) == ("system", False)
        assert set(hook["stages"]) <= set(config["default_install_hook_types"])
        command = hook["entry"].split()
        assert command[:2] == ["python3", "dev.py"]
        assert command[2] in module("dev").VERBS
        if "files" in hook:
            assert any(
                re.search(hook["files"], name) for name in files("src/**/*.py", ".importlinter", "pyproject.toml")
            )


def test_wheels_are_built_where_they_are_promised() -> None:
    wheels, config = read(".github/workflows/wheels.yml")["jobs"]["wheels"], PROJECT["tool"]["cibuildwheel"]
    assert wheels["strategy"]["matrix"]["runner"] == ["ubuntu-latest", "ubuntu-24.04-arm", "macos-latest"]
    assert any("cibuildwheel" in command for command in commands(wheels))
    assert (config["linux"]["archs"], config["macos"]["archs"]) == (["auto64"], ["arm64", "x86_64"])
    loops = next(command for command in config["test-command"] if "native" in command)
    assert subprocess.run(
        loops, shell=True, env={"ATDATA_NATIVE": "0", "PATH": str(Path(sys.executable).parent)}
    ).returncode


# -- forms, citation, links


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_one_that_can_be_filled_in(name: str) -> None:
    form = read(name)
    assert set(form) <= {"name", "description", "title", "labels", "assignees", "projects", "type", "body"}
    assert form["name"]
    assert form["description"]
    inputs = [part for part in form["body"] if part["type"] != "markdown"]
    assert inputs
    assert len({part["id"] for part in inputs}) == len({part["attributes"]["label"] for part in inputs}) == len(inputs)
    attributes = {"label", "description", "placeholder", "value"}
    allowed = {
        "input": attributes,
        "textarea": attributes | {"render"},
        "dropdown": {"label", "description", "options", "multiple", "default"},
    }
    for part in form["body"]:
        assert set(part) <= {"type", "id", "attributes", "validations"}
        if part["type"] == "markdown":
            assert set(part["attributes"]) == {"value"}
            continue
        assert set(part["attributes"]) <= allowed[part["type"]], part
        assert re.fullmatch(r"[A-Za-z0-9_-]+", part["id"])
        assert set(part.get("validations", {})) <= {"required"}
        assert all(isinstance(option, str) and option != "None" for option in part["attributes"].get("options", []))


def test_the_citation_is_a_citation() -> None:
    citation, project = read("CITATION.cff"), PROJECT["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert set(citation) <= {
        *("cff-version", "message", "title", "type", "abstract", "authors", "version", "license", "keywords"),
        "date-released",
    }
    assert (citation["cff-version"], citation["type"], citation["title"]) == ("1.2.0", "software", project["name"])
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]
    assert all(isinstance(word, str) for word in citation["keywords"])


def test_the_home_of_the_project_is_named_once() -> None:
    urls = PROJECT["project"]["urls"]
    home = urls["Repository"]
    assert {"Repository", "Issues", "Changelog"} == set(urls)
    assert all(url.startswith(home) for url in urls.values())
    texts = files("*.md", "*.cff", "*.yml", ".github/**/*.*", "docs/**/*.md", "src/**/*.py")
    assert [name for name in texts if home in (ROOT / name).read_text("utf-8")] == []


@pytest.mark.parametrize("name", files("*.md", ".github/*.md"))
def test_links_lead_somewhere(name: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (ROOT / name).parent.joinpath(target).exists(), target
