"""What every kind of test shares; fixtures live beside the tests that use them."""

import os

from hypothesis import settings

# Many of these processes are forked by tests. What gRPC does then, it does to its own
# descriptors, and sometimes to those that have their numbers by now.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# pytest-timeout is the deadline. Hypothesis's own, 200 ms for one example, fails a
# sound property on a busy machine.
settings.register_profile("sandlot", deadline=None)
settings.load_profile("sandlot")
