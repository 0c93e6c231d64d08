"""A batch on its way into a log: small ones travel in the head item, large ones are written as chunks before."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chathistory.adapters.dynamodb._calls import Steps
from chathistory.adapters.dynamodb._chunks import delete_chunks, piece_value, pieces_of, put_chunks
from chathistory.adapters.dynamodb._failures import Patience
from chathistory.adapters.dynamodb._log import chunks_of, inline, reference
from chathistory.adapters.dynamodb._place import Place, new_id

INLINE_BYTES = 16 * 1024
"""Up to this size a batch is written into the head itself, which takes a single request."""

_DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class Settings:
    """What a handle was told.

    Attributes:
        place: where its session is.
        keep: how many of the last messages an add leaves, or None for all.
        ttl: seconds from an add until the session reads as empty, or None for never.
        clock: the time in seconds since 1970.
    """

    place: Place
    keep: int | None
    ttl: float | None
    clock: Callable[[], float]

    def expiry(self) -> int | None:
        """The second from which on a session that is added to now reads as empty: in whole seconds, as DynamoDB's."""
        return None if self.ttl is None else math.ceil(self.clock() + self.ttl)

    def chunks_until(self) -> int | None:
        """The second until which chunks written now are kept.

        Later than the session's, which every add moves on: so chunks need renewing once a day, or once in a ttl if
        that is longer, and not with every add.
        """
        expiry = self.expiry()
        return None if expiry is None or self.ttl is None else expiry + max(math.ceil(self.ttl), _DAY)


@dataclass(slots=True)
class Batch:
    """Encoded messages, and how far they have come.

    Attributes:
        texts: the messages.
        keep: the bound that holds from them on.
        entry: the text of their entry in the log, once they are written.
        chunks: the chunks that hold them.
        until: the second until which these are kept, or None for ever.
        is_settled: whether it is known that the log does not name the chunks.
    """

    settings: Settings
    texts: Sequence[str]
    keep: int | None
    entry: str = ""
    chunks: list[str] = field(default_factory=list)
    until: int | None = None
    is_settled: bool = True

    def write(self, patience: Patience) -> Steps[None]:
        """Make the entry, and write the chunks if there must be some. Nobody sees them yet."""
        if self.entry:
            return
        joined = f"[{', '.join(self.texts)}]"
        entry = inline(joined, self.keep)
        if len(entry) > INLINE_BYTES:
            pieces, chunk = pieces_of(joined), new_id()
            self.chunks = chunks_of(chunk, len(pieces))
            self.until = self.settings.chunks_until()
            values = {name: piece_value(piece) for name, piece in zip(self.chunks, pieces, strict=True)}
            yield from put_chunks(self.settings.place, patience, values, self.until, self.settings.clock())
            entry = reference(chunk, len(pieces), len(self.texts), self.keep)
        self.entry = entry

    def withdraw(self, patience: Patience) -> Steps[None]:
        """Remove the chunks again, unless the log may name them."""
        if self.is_settled and self.chunks:
            yield from delete_chunks(self.settings.place, patience, self.chunks)
