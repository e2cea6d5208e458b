"""How fast it is, measured beside what it could be compared with, in the same run."""

import os

# Children are started while gRPC's threads run; what it does to its own state at a fork
# is for forks that go on using it, and has hung here.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
