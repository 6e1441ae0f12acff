"""The KV memory of a replica: private bytes of sequences, and prefix blocks that sequences share."""

from collections import OrderedDict
from collections.abc import Sequence


class KvPool:
    """Bytes in use out of `capacity`. A shared block of `block_bytes` stays after its last user until room is needed: LRU eviction."""

    def __init__(self, capacity: float, block_bytes: float) -> None:
        self.capacity, self.block_bytes = capacity, block_bytes
        self.used = 0.0
        self.peak = 0.0
        self._users: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def busy(self) -> float:
        """Bytes that running sequences hold: all in use but for blocks without a user."""
        return self.used - len(self._idle) * self.block_bytes

    def take(self, size: float) -> bool:
        """Take `size` private bytes, evicting idle blocks as needed; False, and nothing taken, when there is no room."""
        if self.busy + size > self.capacity * (1 + 1e-12):
            return False
        while self.used + size > self.capacity * (1 + 1e-12):
            block, _ = self._idle.popitem(last=False)
            del self._users[block]
            self.used -= self.block_bytes
        self.used += size
        self.peak = max(self.peak, self.busy)
        return True

    def give(self, size: float) -> None:
        """Free private bytes."""
        self.used -= size

    def leading(self, blocks: Sequence[int]) -> int:
        """How many of the first blocks of a prompt are here."""
        for count, block in enumerate(blocks):
            if block not in self._users:
                return count
        return len(blocks)

    def acquire(self, blocks: Sequence[int]) -> None:
        """Become a user of blocks that are here."""
        for block in blocks:
            self._users[block] += 1
            self._idle.pop(block, None)

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
            self._users[block] = 1
