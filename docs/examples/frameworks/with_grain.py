import grain
from data import points

from atdata.integrations.grain import Source, batches

by_number = grain.MapDataset.source(Source(points())).seed(1).shuffle().repeat(2).batch(64)
assert by_number[0]["position"].dtype == "float32"

loaded = batches(points().loader(64, shuffle="global", seed=1))
iterator = iter(loaded.map(lambda batch: batch["id"]))
seen = [next(iterator) for _ in range(5)]
state = iterator.get_state()  # JSON

again = iter(batches(points().loader(64, shuffle="global", seed=1)).map(lambda batch: batch["id"]))
again.set_state(state)
assert sorted(n for ids in [*seen, *again] for n in ids) == list(range(1000))
