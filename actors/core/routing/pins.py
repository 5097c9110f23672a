"""The models that a backend must have in memory, and those that displace them there."""

from collections.abc import Callable, Collection, Iterable

from ..model.model_names import model_name

AGAIN_S = 30.0  # from a load to the next attempt, at least
MOST_S = 600.0  # after many failures in a row


class Pins:
    """One backend's pinned models.

    How much fits into a server's memory is not known, but seen: if a probe finds a pinned model
    gone and another one in memory, that one displaces it, until a probe finds both.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.spelled = {model_name(name): name for name in names}  # as the settings do
        self.displacing: frozenset[str] = frozenset()
        self._absent: frozenset[str] = frozenset()  # at the last look
        self._seen: frozenset[str] = frozenset()  # in memory at the last probe
        self._loading: set[str] = set()
        self._due: dict[str, float] = {}  # when each may be loaded again
        self._failures: dict[str, int] = {}  # in a row

    def __bool__(self) -> bool:
        return bool(self.spelled)

    def __contains__(self, model: str) -> bool:
        return model in self.spelled

    def withstand(self, pinned: str, model: str) -> bool:
        """Whether this model stays in memory, as pinned, when another one is loaded."""
        return pinned in self.spelled and model not in self.displacing

    def take_probe(self, loaded: Collection[str], *, is_new: bool) -> None:
        """Learn from the models in memory; `is_new`: it may be another server now."""
        now = frozenset(loaded)
        if not self.spelled:
            return
        if is_new:
            self.displacing, self._seen = frozenset(), now
            return
        lost = self._seen & self.spelled.keys() - now
        if lost:
            self.displacing |= now - self._seen - self.spelled.keys()
        elif now >= self.spelled.keys():
            self.displacing -= now
        self._seen = now

    def missing(
        self, loaded: Collection[str], serves: Callable[[str], bool], now: float
    ) -> list[str]:
        """The models to load now, as the settings spell them; each is being loaded from then on."""
        wanted = [
            name
            for name in self.spelled
            if name not in loaded
            and name not in self._loading
            and self._due.get(name, now) <= now
            and serves(name)
        ]
        self._loading.update(wanted)
        return [self.spelled[name] for name in wanted]

    def newly_absent(self, serves: Callable[[str], bool]) -> list[str]:
        """The models that the server does not have, as the settings spell them, each once."""
        absent = frozenset(name for name in self.spelled if not serves(name))
        news, self._absent = absent - self._absent, absent
        return sorted(self.spelled[name] for name in news)

    def kept(self, model: str, *, failed: bool, now: float) -> None:
        """Note the end of a load. A failed one is repeated after 30 s, 1 min, 2 min … 10 min."""
        name = model_name(model)
        self._loading.discard(name)
        failures = self._failures[name] = self._failures.get(name, 0) + 1 if failed else 0
        self._due[name] = now + min(AGAIN_S * 2 ** max(0, failures - 1), MOST_S)

    def clock_set(self, step: float) -> None:
        """Adjust to a change of the wall clock by `step` seconds."""
        self._due = {name: due + step for name, due in self._due.items()}
