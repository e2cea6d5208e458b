"""What every kind of test shares; fixtures live beside the tests that use them."""

from hypothesis import settings

# pytest-timeout is the deadline. Hypothesis's own, 200 ms for one example, fails a
# sound property on a busy machine.
settings.register_profile("sandlot", deadline=None)
settings.load_profile("sandlot")
