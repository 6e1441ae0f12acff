"""The KV memory of a rank: private bytes of sequences, and prefix blocks that sequences share, on the chip or in host memory."""

from collections import OrderedDict
from collections.abc import Sequence


class KvPool:
    """Bytes in use out of `capacity`. A shared block of `block_bytes` stays after its last user until room is needed.

    The one unused longest goes first: to host memory while `host_blocks` of them have room there, else it is forgotten.
    """

    def __init__(self, capacity: float, block_bytes: float, host_blocks: int = 0) -> None:
        self.capacity, self.block_bytes, self.host_blocks = capacity, block_bytes, host_blocks
        self.used = 0.0
        self.peak = 0.0
        self._users: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._host: OrderedDict[int, None] = OrderedDict()
        self._here: dict[int, float] = {}  # when blocks are here that were called for

    @property
    def busy(self) -> float:
        """Bytes that running sequences hold: all in use but for blocks without a user."""
        return self.used - len(self._idle) * self.block_bytes

    def fits(self, size: float) -> bool:
        """Whether there is room for `size` more bytes when idle blocks go."""
        return self.busy + size <= self.capacity

    def take(self, size: float) -> None:
        """Take private bytes that fit, evicting idle blocks as needed."""
        self.used += size
        while self.used > self.capacity:
            block, _ = self._idle.popitem(last=False)
            del self._users[block]
            self._here.pop(block, None)
            self.used -= self.block_bytes
            self._keep_in_host(block)
        self.peak = max(self.peak, self.busy)

    def _keep_in_host(self, block: int) -> None:
        if not self.host_blocks:
            return
        if len(self._host) == self.host_blocks:
            self._host.popitem(last=False)
        self._host[block] = None

    def give(self, size: float) -> None:
        """Free private bytes."""
        self.used -= size

    def leading(self, blocks: Sequence[int]) -> tuple[int, int, int]:
        """How many of the first blocks of a prompt are here or in host memory; how many of them have users, how many are in host memory."""
        used = host = 0
        for count, block in enumerate(blocks):
            if block in self._users:
                used += self._users[block] > 0
            elif block in self._host:
                host += 1
            else:
                return count, used, host
        return len(blocks), used, host

    def acquire(self, blocks: Sequence[int], moment: float = 0.0) -> float:
        """Become a user of blocks that are here, those in host memory at a `moment`; when the last of them is here."""
        for block in blocks:
            if block in self._host:
                del self._host[block]
                self._users[block] = 0
                self._here[block] = moment
                self.used += self.block_bytes
            self._users[block] += 1
            self._idle.pop(block, None)
        return max((self._here.get(block, 0.0) for block in blocks), default=0.0)

    def release(self, blocks: Sequence[int]) -> None:
        """Stop using blocks; the first of a prompt are the last to be evicted."""
        for block in reversed(blocks):
            self._users[block] -= 1
            if not self._users[block]:
                self._idle[block] = None

    def publish(self, block: int) -> None:
        """Turn private bytes just computed into a shared block; where it is here already, the copy is freed."""
        if block in self._users:
            self.acquire([block])
            self.used -= self.block_bytes
        else:
            self._host.pop(block, None)
            self._users[block] = 1
        self._here.pop(block, None)
