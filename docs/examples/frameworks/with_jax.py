import jax
import jax.numpy as jnp
from data import points
from jax.sharding import Mesh, NamedSharding, PartitionSpec

rows = NamedSharding(Mesh(jax.devices(), ("data",)), PartitionSpec("data"))
ranks = {"rank": jax.process_index(), "world_size": jax.process_count()}
loader = points().loader(64, shuffle="global", seed=1, equal_steps="pad", **ranks)


@jax.jit
def step(weights, batch):
    def loss(weights):
        return jnp.mean((batch["position"] @ weights - batch["inside"]) ** 2)

    return weights - 0.1 * jax.grad(loss)(weights)


weights = jnp.zeros(2)
for _ in range(2):
    for batch in loader:
        batch = jax.device_put(batch, rows)  # of several processes: jax.make_array_from_process_local_data
        assert len(batch.position.sharding.device_set) == jax.device_count()
        weights = step(weights, batch)
assert step._cache_size() <= 2, "compiled for the first weights and the others, not for each batch"
