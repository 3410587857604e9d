"""Fair shares of the page's server: what one client may hold at once, and whose turn it is.

A client is a browser, known by its cookie. Cookies are free to forge, so that an address has a bound too: half of
what there is for all. A family, a class or an office behind one address has then room for 32 unread conversations,
four of them in one browser, and whatever an address does, the other half is left for others. What is waiting is
read in turns: next is the address, and within it the browser, that was last served longest ago, so that a long
queue of one client costs others no more than one conversation for each of theirs.
"""

import ipaddress
from collections.abc import Collection, Sequence
from typing import NamedTuple

from merc.runtime.errors import UserError

IPV6_PREFIX = 64  # bits: what one household is given; its computers choose the rest of an address themselves
MAX_REMEMBERED = 1000  # addresses and sessions whose last turn is known


class Client(NamedTuple):
    """Who asks."""

    session: str  # the cookie
    address: str


class Busy(UserError):
    """Raised where a client's share is used up, or everybody's; answered with status 429."""


def check_share(held: Collection[Client], client: Client, *, own: int, total: int, what: str) -> None:
    """Refuse one more for a client: `held` are the owners of what there is, `own` and `total` the bounds."""
    if sum(other.session == client.session for other in held) >= own:
        raise Busy(f"this browser has {own} {what} under way; wait until one is done")
    if sum(other.address == client.address for other in held) >= address_share(total):
        raise Busy(f"too many {what} come from your network address; try again in a minute")
    if len(held) >= total:
        raise Busy(f"too many {what} are waiting; try again in a minute")


def address_share(total: int) -> int:
    """What one address may hold of something."""
    return max(total // 2, 1)


class Turns:
    """Who is next: the address, and within it the browser, that was last served longest ago."""

    def __init__(self) -> None:
        self.served: dict[str, int] = {}  # address or session -> number of its last turn, the latest last

    def take(self, client: Client) -> None:
        """Count a turn of a client."""
        _serve(self.served, client)
        while len(self.served) > MAX_REMEMBERED:
            del self.served[next(iter(self.served))]

    def order(self, clients: Sequence[Client]) -> list[int]:
        """Places of clients, given in order of arrival, in the order of their turns."""
        served, waiting, order = dict(self.served), list(range(len(clients))), list[int]()
        while waiting:
            place = min(waiting, key=lambda place: [served.get(name, 0) for name in reversed(clients[place])])
            waiting.remove(place)
            order.append(place)
            _serve(served, clients[place])
        return order


def _serve(served: dict[str, int], client: Client) -> None:
    number = next(reversed(served.values()), 0) + 1
    for name in client:
        served.pop(name, None)
        served[name] = number


def network_of(host: str) -> str:
    """The address that a client is counted by: of IPv6 its network, of anything else the host itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))
