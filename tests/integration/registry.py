"""How a test says what it is."""

import dataclasses
import typing


@dataclasses.dataclass
class Entry:
    name: str
    function: typing.Callable
    wanted: dict
    subjects: tuple
    slow: bool
    seconds: int
    workers: int | None = None


def register(tests):
    """A decorator that appends to the module's TESTS.

    The name is a sentence. pool and settings ask for a pgmend of the test's own; `subjects` says where it makes
    sense; slow tests are left out of --quick; seconds is the time after which it counts as hung. `workers` is how many
    share the pool in a --sanitized run; a test that asks for a pool has one otherwise."""

    def test(name, pool=None, settings=None, subjects=("pgmend", "direct", "pgbouncer"), slow=False, seconds=60, workers=None,
             **wanted):
        def add(function):
            if pool is not None:
                wanted["pool_size"] = pool
            if settings is not None:
                wanted["settings"] = settings
            tests.append(Entry(name, function, wanted, tuple(subjects), slow, seconds, workers))
            return function

        return add

    return test
