"""What `import atdata` costs, beside importing numpy alone: whole processes, in interleaved rounds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
GOAL = 1.5


def seconds(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def main() -> None:
    for statement in ("import numpy", "import atdata"):
        seconds(statement)  # once unmeasured: bytecode, page cache
    rounds = [(seconds("import numpy"), seconds("import atdata")) for _ in range(ROUNDS)]
    numpy, atdata = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(ours / theirs for theirs, ours in rounds)
    print(
        f"import numpy   {numpy * 1000:6.1f} ms\nimport atdata  {atdata * 1000:6.1f} ms\nratio          {ratio:6.2f}  (goal: at most {GOAL})"
    )


if __name__ == "__main__":
    main()
