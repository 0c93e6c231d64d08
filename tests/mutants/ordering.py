"""Histories that break ORD: order, count and length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from tests.mutants._base import PLAIN, JsonHistory, RecordHistory, Steps, TableHistory
from tests.mutants._planted import mutant
from tests.mutants._values import from_json
from typing_extensions import override


@mutant("ORD-1", "ORD-2", hardness="obvious", operations=2)
class ReadsNewestFirst(JsonHistory):
    """A list is pushed at its head and read from its head, and nobody turns it round."""

    def _shown(self, items: list[Any]) -> list[Any]:
        return items[::-1]


@mutant("ORD-1", "ORD-7", "ORD-2", hardness="data", operations=2)
class SortsNumbersAsText(RecordHistory):
    """Sort keys are digits in a text column, so the eleventh message comes right after the second."""

    def _items(self) -> list[Any]:
        return [self._records()[number] for number in sorted(self._records(), key=str)]


@mutant("ORD-1", "ORD-2", hardness="data", operations=2)
class SortsByMessageId(JsonHistory):
    """The author believed that all message ids are ULIDs, which sort by time."""

    def _shown(self, items: list[Any]) -> list[Any]:
        return sorted(items, key=lambda item: from_json(item).id or "")


@mutant("ORD-1", "ORD-2", hardness="data", operations=2)
class PutsSystemMessagesFirst(JsonHistory):
    """A provider demands the system prompt at the top, so the store helps."""

    def _shown(self, items: list[Any]) -> list[Any]:
        return sorted(items, key=lambda item: not isinstance(from_json(item), SystemMessage))


@mutant("ORD-1", "ORD-2", hardness="data", operations=2)
class MovesToolResultsToTheirCalls(JsonHistory):
    """A provider wants results right behind their calls, so late results are moved up."""

    def _shown(self, items: list[Any]) -> list[Any]:
        shown: list[Any] = []
        for item in items:
            message = from_json(item)
            place = len(shown)
            if isinstance(message, ToolMessage):
                callers = [n for n, other in enumerate(shown) if self._calls(other, message.tool_call_id)]
                place = callers[-1] + 1 if callers else place
            shown.insert(place, item)
        return shown

    def _calls(self, item: Any, tool_call_id: str) -> bool:
        message = from_json(item)
        return tool_call_id in [call["id"] for call in getattr(message, "tool_calls", [])]


@mutant("ORD-1", "CLR-3", hardness="stateful", operations=3)
class TurnsRoundAfterAClear(JsonHistory):
    """The path that recreates a deleted list pushes at the wrong end."""

    def _clear(self) -> Steps[None]:
        yield from super()._clear()
        self.store.notes["cleared", self._key()] = True

    def _append(self, items: list[Any]) -> None:
        if ("cleared", self._key()) in self.store.notes:
            self._put([*items[::-1], *self._items()])
        else:
            super()._append(items)


@mutant("ORD-2", "ORD-1", hardness="data", operations=2)
class PutsInputsBeforeOutputs(JsonHistory):
    """The batch is split into inputs and outputs, which go to the store one after the other."""

    def _append(self, items: list[Any]) -> None:
        super()._append(sorted(items, key=lambda item: not isinstance(from_json(item), HumanMessage)))


@mutant("ORD-3", hardness="data", operations=2)
class ForgetsEqualMessages(JsonHistory):
    """A retry once stored a turn twice, so what is there already is not stored again."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        for item in items:
            if item not in kept:
                kept.append(item)
        self._put(kept)


@mutant("ORD-3", hardness="data", operations=2)
class KeysByContent(JsonHistory):
    """The primary key is a hash of the content, whoever said it."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        for item in items:
            if from_json(item).content not in [from_json(other).content for other in kept]:
                kept.append(item)
        self._put(kept)


class _KnowsMessageIds(TableHistory):
    CREATE = """CREATE TABLE IF NOT EXISTS messages (position INTEGER PRIMARY KEY AUTOINCREMENT,
                partition_name TEXT, session_id TEXT, message_id TEXT, item TEXT,
                UNIQUE (partition_name, session_id, message_id))"""
    VALUES = """INTO messages (partition_name, session_id, message_id, item)
                VALUES (:partition, :session_id, :message_id, :item)"""

    def _row(self, item: str) -> dict[str, Any]:
        message_id = from_json(item).id
        return {"item": item, "message_id": None if message_id is None else ascii(message_id)}


@mutant("ORD-3", hardness="data", operations=2)
class IgnoresAKnownId(_KnowsMessageIds):
    """INSERT OR IGNORE, and a unique key on the message id."""

    INSERT = f"INSERT OR IGNORE {_KnowsMessageIds.VALUES}"


@mutant("ORD-3", "ORD-1", hardness="data", operations=2)
class OverwritesAKnownId(_KnowsMessageIds):
    """INSERT OR REPLACE, and a unique key on the message id."""

    INSERT = f"INSERT OR REPLACE {_KnowsMessageIds.VALUES}"


@mutant("ORD-3", hardness="data", operations=2)
class StoresAnObjectOnce(JsonHistory):
    """The batch goes through a dict keyed by object on its way to the store."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        return list({id(message): message for message in super()._batch(messages)}.values())


@mutant("ORD-4", hardness="stateful", operations=3)
class ClearsOnAnEmptyBatch(JsonHistory):
    """The same path serves assignments, where nothing means nothing."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from super()._add(items) if items else self._clear()


@mutant("ORD-4", hardness="stateful", operations=3)
class RepeatsItsLastBatchWhenEmpty(JsonHistory):
    """A command buffer is filled only when there is something to fill it with."""

    _last: tuple[Any, ...] = ()

    def _add(self, items: list[Any]) -> Steps[None]:
        self._last = tuple(items) or self._last
        yield from super()._add(list(self._last))


@mutant("ORD-4", "ASY-1", hardness="data", operations=1)
class RaisesOnAnEmptyAsyncBatch(JsonHistory):
    """The async driver wants the first row for its column names."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        if not items:
            self._refuse(IndexError, "list index out of range")
        await self._arun(self._add(items))


@mutant("ORD-5", "ERR-2", hardness="data", operations=2)
class DropsTuples(JsonHistory):
    """What is no list is taken for a single message that is None."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        return [] if isinstance(messages, tuple) else super()._batch(messages)


@mutant("ORD-5", "ERR-2", hardness="data", operations=2)
class WalksTheBatchTwice(JsonHistory):
    """The batch is walked once to validate and once to store; an iterator is empty by then."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        self._batch(messages)
        return super()._encode(messages)


@mutant("ORD-6", hardness="obvious", operations=2)
class AddsAMessageTwice(JsonHistory):
    """add_message writes, and then calls add_messages, which writes."""

    @override
    def add_message(self, message: BaseMessage) -> None:
        self.add_messages([message, message])


@mutant("ORD-6", hardness="data", operations=2)
class WrapsAUserMessage(JsonHistory):
    """add_user_message was overridden with only a str in mind."""

    @override
    def add_user_message(self, message: HumanMessage | str) -> None:
        self.add_message(HumanMessage(content=str(message)))


@mutant("ORD-6", hardness="stateful", operations=3)
class JoinsUserMessages(JsonHistory):
    """Some providers refuse two user messages in a row, so add_user_message joins them."""

    @override
    def add_user_message(self, message: HumanMessage | str) -> None:
        history = self.messages
        if history and isinstance(history[-1], HumanMessage):
            more = message if isinstance(message, str) else message.content
            self.messages = [*history[:-1], HumanMessage(content=f"{history[-1].content}\n{more}")]
        else:
            super().add_user_message(message)


class _FirstPage(JsonHistory):
    page: int

    def _shown(self, items: list[Any]) -> list[Any]:
        return items[: self.page]


@mutant("ORD-7", hardness="data", operations=2)
class ReadsTheFirst100(_FirstPage):
    """A client's default LIMIT."""

    page = 100


@mutant("ORD-7", hardness="data", operations=2)
class ReadsTheFirst128(_FirstPage):
    """The first page of a query, and no look at the continuation token."""

    page = 128


@mutant("ORD-7", hardness="data", operations=2)
class ReadsTheFirst256(_FirstPage):
    """A fetchmany with its buffer size, called once."""

    page = 256


@mutant("ORD-7", hardness="data", operations=2)
class ReadsTheFirst1000(_FirstPage):
    """A search engine's page, of at most a thousand hits."""

    page = 1000


@mutant("ORD-7", hardness="data", operations=2)
class ReadsTheFirst2000(_FirstPage):
    """A limit so generous that nobody wrote it down; needs a history of 2,001."""

    page = 2000


@mutant("ORD-7", "ORD-1", "ORD-2", hardness="data", operations=2)
class SkipsOneBetweenPages(JsonHistory):
    """Pages of fifty, and the next one begins behind the key that it should begin with."""

    def _shown(self, items: list[Any]) -> list[Any]:
        return [item for place, item in enumerate(items) if place % 51 != 50]


@mutant("ORD-7", "ORD-1", hardness="data", operations=2)
class JoinsChunksInTextOrder(JsonHistory):
    """A history in chunks of a hundred, whose numbers are sorted as text: 10 comes before 2."""

    def _shown(self, items: list[Any]) -> list[Any]:
        starts = sorted(range(0, len(items), 100), key=lambda start: str(start // 100))
        return [item for start in starts for item in items[start : start + 100]]


@mutant("ORD-7", "ORD-2", hardness="data", operations=2)
class WritesChunksOf25Backwards(JsonHistory):
    """A long batch is cut to the store's batch size, and the pieces are sent from the end."""

    def _append(self, items: list[Any]) -> None:
        for start in reversed(range(0, len(items), 25)):
            super()._append(items[start : start + 25])


@mutant("ORD-7", "ERR-2", "ORD-2", hardness="data", operations=2)
class Stores25OfABatch(JsonHistory):
    """A batch write takes 25 items, and nobody looks at the unprocessed ones."""

    def _append(self, items: list[Any]) -> None:
        super()._append(items[:25])


@mutant("ORD-7", "ERR-2", "VAL-2", hardness="data", operations=2)
class FillsAnItemOf400Kb(JsonHistory):
    """The whole session is one item of at most 400 KB, and what doesn't fit is dropped with a log line."""

    def _put(self, items: list[Any]) -> None:
        while sum(map(len, items)) > 400_000:
            items = items[:-1]
        super()._put(items)


# The mutants below were missed, or blamed on another clause, when the suite first met them.


@mutant("ORD-3", "RUN-2", "RUN-1", hardness="data", operations=2)
class KeepsOneChunkOfAStream(JsonHistory):
    """All chunks of a stream share an id, so a chunk whose id is there already is taken for the same one again."""

    def _append(self, items: list[Any]) -> None:
        for item in items:
            if not self._is_known_chunk(item):
                super()._append([item])

    def _is_known_chunk(self, item: Any) -> bool:
        message = from_json(item)
        if not isinstance(message, BaseMessageChunk) or message.id is None:
            return False
        return any((type(other), other.id) == (type(message), message.id) for other in map(from_json, self._items()))


@mutant("ORD-6", hardness="data", operations=2)
class MakesAiMessagesAnew(JsonHistory):
    """add_ai_message was written when it was only ever given a text."""

    @override
    def add_ai_message(self, message: AIMessage | str) -> None:
        text = message.content if isinstance(message, AIMessage) else message
        self.add_messages([AIMessage(content=text)])


@mutant("ORD-6", hardness="data", operations=2)
class StripsWhatTheUserSays(JsonHistory):
    """add_user_message tidies up what comes from a form."""

    @override
    def add_user_message(self, message: HumanMessage | str) -> None:
        super().add_user_message(message.strip() if isinstance(message, str) else message)


@mutant("ORD-7", "SNP-6", hardness="data", operations=2)
class ReadsAFullPageAgain(JsonHistory):
    """A last page of 250 that is just full has an empty cursor, by which the reader begins anew."""

    def _shown(self, items: list[Any]) -> list[Any]:
        return items if not items or len(items) % 250 else [*items, *items[:250]]


@mutant("ORD-7", "ORD-2", hardness="data", operations=2)
class LosesWhatIsLeftOverBy47(JsonHistory):
    """A batch is written in chunks of 47, by a range that ends one too early: a rest of one message is lost."""

    def _append(self, items: list[Any]) -> None:
        super()._append(items[:-1] if len(items) > 1 and len(items) % 47 == 1 else items)


@mutant("ORD-7", hardness="data", operations=2)
class LosesALastPageOf53(JsonHistory):
    """Pages of 53 are read as long as there are fewer than there should be; the last is not, if it is just full."""

    def _shown(self, items: list[Any]) -> list[Any]:
        return items[:-53] if len(items) % 53 == 0 else items


@mutant("ORD-6", "ISO-3", "RUN-1", "ASY-2", hardness="stateful", operations=4)
class ForgetsItsCacheInSingleAdds(JsonHistory):
    """The cache of a handle is refreshed by the batch form, which add_message doesn't use."""

    claims = PLAIN
    _known: tuple[int, list[Any]] = (-1, [])

    def _shown(self, items: list[Any]) -> list[Any]:
        version = self.store.notes.setdefault(("version", self._key()), 0)
        if self._known[0] != version:
            self._known = (version, items)
        return list(self._known[1])

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self._has_changed()

    def _erase(self) -> None:
        super()._erase()
        self._has_changed()

    def _has_changed(self) -> None:
        self.store.notes["version", self._key()] = self.store.notes.get(("version", self._key()), 0) + 1

    @override
    def add_message(self, message: BaseMessage) -> None:
        items = self._encode([message])
        with self._transaction():
            self.store.lists[self._key()] = [*self._items(), *items]


@mutant("ORD-3", "RUN-1", "ORD-2", hardness="data", operations=3)
class TakesAnotherAnswerForABetterOne(JsonHistory):
    """A question with its answer, asked again as the last one was, takes that one's place: "regenerate"."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        is_again = len(items) == 2 and kept[-2:-1] == items[:1] and self._load(items[1]).type == "ai"
        self._put([*(kept[:-2] if is_again else kept), *items])


@mutant("ORD-3", "VAL-1", "VAL-3", "VAL-2", hardness="data", operations=2)
class KeepsOneResultOfACall(JsonHistory):
    """The result of a tool is a row under the id of its call."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        for item in items:
            call = getattr(self._load(item), "tool_call_id", None)
            same = [place for place, old in enumerate(kept) if call and self._call_of(old) == call]
            kept[slice(same[0], same[0] + 1) if same else slice(len(kept), None)] = [item]
        self._put(kept)

    def _call_of(self, item: Any) -> Any:
        return getattr(self._load(item), "tool_call_id", None)


@mutant("ORD-7", "ERR-2", hardness="data", operations=60)
class LosesSingleAddsAtTheEndOfAChunk(JsonHistory):
    """Where one message just fills a second or later chunk of thirty, the chunk is closed before it is in."""

    def _append(self, items: list[Any]) -> None:
        count = len(self._items())
        if len(items) > 1 or count < 30 or count % 30 != 29:
            super()._append(items)
