"""The state is the fold of history, whatever upstreams do, and wherever ingest is stopped.

`python3 dev.py histories` does the same with more and longer histories.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata.replica import Replica
from support.sweeping import accounts_of, follow, follow_killed, history_of


@pytest.mark.parametrize("seed", range(2))
def test_what_is_shown_is_the_fold_of_history(replica: Replica, seed: int) -> None:
    with history_of(seed) as history:
        counted = follow(history, replica, 300)
    assert counted["commits"] > 20, "some were applied at once"
    assert counted["comparisons"] > 20, "some by comparison"


@pytest.mark.parametrize("seed", range(100, 117))
@pytest.mark.timeout(900)
def test_it_is_too_where_ingest_is_killed(tmp_path: Path, seed: int) -> None:
    """A twentieth of the whole: 100,000 events, and 18 kills; one history is as long as those of the whole."""
    events, kills = (20_000, 2) if seed == 100 else (5_000, 1)
    with history_of(seed, accounts=accounts_of(events)) as history:
        follow_killed(history, f"sqlite:///{tmp_path}/appview.db", events=events, kills=kills)
