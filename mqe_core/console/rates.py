"""How often each client may do something: a bucket a client, which fills up again as time goes by."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mqe_core.console.asgi import Scope

_MOST_CLIENTS = 1024  # whose buckets are kept; the one that was quiet for longest is forgotten first
_HOME_BITS = 64  # of an IPv6 address: what one household or machine is given


@dataclass(frozen=True)
class Rate:
    """So many at once, and so many a second in the long run."""

    at_once: float
    per_s: float


class Rates:
    """A bucket for each client. `clock` gives seconds that never go back."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate, self._clock = rate, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client: (what is left, when)

    def take(self, client: str) -> bool:
        """Take one out. False, and nothing taken, where none is left."""
        left, now = self._left(client), self._clock()
        self._buckets[client] = (left - 1.0 if left >= 1.0 else left, now)
        self._buckets.move_to_end(client)
        while len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return left >= 1.0

    def wait_s(self, client: str) -> float:
        """How long until one is there again, s; 0 where one is."""
        return max(0.0, 1.0 - self._left(client)) / self._rate.per_s

    def _left(self, client: str) -> float:
        now = self._clock()
        left, then = self._buckets.get(client, (self._rate.at_once, now))
        return min(self._rate.at_once, left + (now - then) * self._rate.per_s)


def client_of(scope: Scope) -> str:
    """Who asks: his address, of an IPv6 one the part that he cannot choose; empty where the server does not tell."""
    host = str((scope.get("client") or ("",))[0])
    try:
        number = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(number, ipaddress.IPv6Address):
        if number.ipv4_mapped is not None:
            return str(number.ipv4_mapped)
        return str(ipaddress.ip_network((number, _HOME_BITS), strict=False).network_address)
    return host
