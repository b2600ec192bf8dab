"""A mixture of three datasets, one seen through a lens and one filtered, in a run that is killed again and again.

4 ranks, then 2, then 6, and again, read three epochs; some time after each has begun all are killed with SIGKILL, and the next
ones go on from the last state that all ranks had reached. What they used, in the order of the mixture, must be what one run reads
that nobody stops. Then what a mixture costs, against the same datasets one after the other.

    python3 benchmarks/mixtures.py [--kills 20] [--seed N]
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import atdata

SIZES = {"web": 1400, "books": 290, "code": 170}
WEIGHTS = (0.7, 0.2, 0.1)
EPOCHS = 3
WORLDS = (4, 2, 6)
BATCH = 4
PAUSE = 0.005  # seconds of each step


@atdata.packable
class Text:
    source: str
    number: int
    tokens: NDArray[np.int32]


@atdata.packable
class Program:
    number: int
    lines: list[str]


@atdata.lens
def as_text(program: Program) -> Text:
    return Text("code", program.number, np.array([len(line) for line in program.lines], np.int32))


def is_long(text: Text) -> bool:
    return text.number % 7 != 0


def write(folder: Path) -> None:
    for source in ("web", "books"):
        rows = (Text(source, n, np.arange(n % 40, dtype=np.int32)) for n in range(SIZES[source]))
        atdata.write_samples(rows, folder / f"{source}-%03d.tar", maxcount=120)
    programs = (Program(n, ["x"] * (n % 9)) for n in range(SIZES["code"]))
    atdata.write_samples(programs, folder / "code-%03d.tar", maxcount=50)


def mixture(folder: Path) -> atdata.Dataset[Text]:
    web, books = (atdata.Dataset[Text](sorted(folder.glob(f"{source}-*.tar"))) for source in ("web", "books"))
    code = atdata.Dataset[Program](sorted(folder.glob("code-*.tar"))).as_type(Text)
    return atdata.mix(dict(zip((web, books.filter(is_long), code), WEIGHTS, strict=True)), seed=5, stop="longest")


def train(data: Path, folder: Path, rank: int, world: int) -> None:
    """One rank: goes on from the state in the folder, and notes what it used, and its state, after each step."""
    loader = mixture(data).loader(BATCH, shuffle="global", seed=11, rank=rank, world_size=world)
    with suppress(FileNotFoundError):
        loader.load_state_dict(json.loads((folder / "state.json").read_text()))
    with (folder / f"log-{rank}").open("w") as log:
        while (epoch := loader.epoch) < EPOCHS:
            for batch in loader:
                time.sleep(PAUSE)
                used = [f"{source} {number}" for source, number in zip(batch["source"], batch["number"], strict=True)]
                step = {"place": [epoch, batch.step, rank], "used": used, "state": loader.state_dict()}
                print(json.dumps(step), file=log, flush=True)
        print(json.dumps(None), file=log, flush=True)


def run(data: Path, folder: Path, world: int, delay: float | None) -> tuple[list[str], bool]:
    """What all ranks of a run have used, up to the last state that all had reached; and whether they came to the end."""
    logs = [folder / f"log-{rank}" for rank in range(world)]
    for log in folder.glob("log-*"):
        log.unlink()
    command = [sys.executable, __file__, "--rank"]
    ranks = [subprocess.Popen([*command, str(data), str(folder), str(rank), str(world)]) for rank in range(world)]
    if delay is not None:
        while any(process.poll() is None and not steps(log) for process, log in zip(ranks, logs, strict=True)):
            time.sleep(0.002)
        time.sleep(delay)
        for process in ranks:
            process.kill()  # SIGKILL
    codes = [process.wait(600) for process in ranks]
    if delay is None and any(codes):
        raise SystemExit(f"a rank failed: {codes}")
    noted = [steps(log) for log in logs]
    ended = all(log and log[-1] is None for log in noted)
    reached = min(map(place, noted))
    if not ended:
        last = [log[-1]["state"] for log in noted if log and log[-1] is not None and place(log) == reached]
        if not last:  # a rank had used nothing yet
            return [], False
        if len(json.dumps(last[0])) >= 4096:
            raise SystemExit("a state has more than 4 KB")
        (folder / "state.json").write_text(json.dumps(last[0]))
    used = [step for log in noted for step in log if step and (ended or place([step]) <= reached)]
    return [one for step in sorted(used, key=lambda step: step["place"]) for one in step["used"]], ended


def steps(log: Path) -> list[Any]:
    """The steps that a rank has noted; a line that was cut off is none."""
    found: list[Any] = []
    for line in log.read_text().splitlines() if log.exists() else ():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def place(log: list[Any]) -> tuple[int, int]:
    if not log:
        return (-1, 0)
    return (EPOCHS, 0) if log[-1] is None else (log[-1]["state"]["epoch"], log[-1]["state"]["position"])


def digest(used: list[str]) -> str:
    return hashlib.sha256("\n".join(used).encode()).hexdigest()


def killed(kills: int, seed: int) -> bool:
    """Runs the mixture once without, and once with kills."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        data, whole, folder = (Path(name) / part for part in ("data", "whole", "killed"))
        for path in (data, whole, folder):
            path.mkdir()
        write(data)
        expected, _ = run(data, whole, 1, None)
        print(f"one run, 1 rank:           {len(expected):,} samples, sha-256 {digest(expected)}")
        found: list[str] = []
        done, moved = 0, 0
        for world in itertools.cycle(WORLDS):
            share = (len(expected) - len(found)) * PAUSE / BATCH / world / (kills - done + 1)  # as others are to come
            used, ended = run(data, folder, world, chance.uniform(0, 1.5 * share) if done < kills else None)
            found += used
            moved += bool(used)
            if ended:
                break
            done += 1
        ranks = ", ".join(map(str, WORLDS))
        print(f"{done} kills, ranks {ranks}, ...: {len(found):,} samples, sha-256 {digest(found)}, in {moved} parts")
    return done == kills and digest(found) == digest(expected)


def costs(rounds: int = 5) -> None:
    """Samples a second: of a mixture, and of its datasets one after the other, in batches of 256."""
    with tempfile.TemporaryDirectory() as name:
        sources = []
        for source in range(3):
            rows = (Text("x", n, np.zeros(128, np.int32)) for n in range(60_000))
            sources.append(atdata.write_samples(rows, f"{name}/{source}-%d.tar", maxcount=20_000))
        sizes = [6_999_991, 2_000_003, 1_000_003]
        ways = {
            "one after the other": atdata.concat(*sources),
            "0.7, 0.2, 0.1": atdata.mix(dict(zip(sources, WEIGHTS, strict=True)), stop=180_000),
            "by 7 digits each": atdata.mix(dict(zip(sources, sizes, strict=True)), stop=180_000),
        }
        for shuffle in ("window", "global"):
            rates: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(rounds):
                for way, dataset in ways.items():
                    start, count = time.perf_counter(), 0
                    for batch in dataset.shuffled(256, seed=number, mode=shuffle):  # type: ignore[call-overload]
                        count += len(batch)
                    rates[way].append(count / (time.perf_counter() - start))
            for way, found in rates.items():
                print(f"{shuffle} shuffle, {way:20} {sorted(found)[rounds // 2]:12,.0f} samples/s")


def main(options: argparse.Namespace) -> bool:
    """The kills, and the costs."""
    same = killed(getattr(options, "kills", 20), options.seed)
    print("the same" if same else "NOT the same")
    costs(options.rounds or 5)
    return same


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        train(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="draws when they are")
    parser.add_argument("--rounds", type=int, default=5, help="of the costs; 0 for none")
    options = parser.parse_args()
    if options.rounds:
        sys.exit(not main(options))
    sys.exit(not killed(options.kills, options.seed))
