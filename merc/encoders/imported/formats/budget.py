"""The bytes that one file of features may take in memory, counted while it is read, not as its headers claim."""

from merc.runtime.errors import UserError

MAX_UNPACKED_BYTES = 2**30  # to which any file may unpack
MAX_UNPACK_RATIO = 100  # unpacked size / size of the file that is always allowed
OBJECT_BYTES = 64  # of a Python object and the reference to it, about


class Budget:
    """What is left to a file, a folder or an archive, all files in it included."""

    def __init__(self, size: int) -> None:
        self.limit = max(MAX_UNPACKED_BYTES, MAX_UNPACK_RATIO * size)
        self.used = 0

    def take(self, count: int) -> None:
        """Count bytes before they are allocated; raises a UserError beyond the limit."""
        self.used += int(count)
        if self.used > self.limit:
            raise UserError(
                f"unpacks to {self.used:,} bytes, more than {self.limit:,}: taken for a trap; unpack it yourself"
            )

    def take_objects(self, count: int) -> None:
        """Count Python objects."""
        self.take(OBJECT_BYTES * count)
