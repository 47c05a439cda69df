"""How much comes of a Parquet file, told from the heads of its pages before any is unpacked.

A few bytes can stand for as many as there is memory: packed zeros, a value that is repeated. What
the foot of a file says of sizes is not what readers go by; what each page says is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Fields: TypeAlias = dict[int, Any]

_MAGIC = b"PAR1"
_TEXT = 16  # bytes that a value takes at least where it is a text
_DEEPEST = 16
_BOOLEANS = {1: True, 2: False}
_WHOLE = {3: 1, 4: 0, 5: 0, 6: 0}  # kinds of whole numbers; of one byte, or of as many as it takes


def unpacked_size(data: bytes) -> int:
    """Return how many bytes the values in a Parquet file come to; raises ValueError if it is none.

    That is no less than they take in memory, but for texts that several values share.
    """
    if len(data) < 12 or data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise ValueError("it does not begin and end as Parquet files do")
    length = int.from_bytes(data[-8:-4], "little")
    if length > len(data) - 12:
        raise ValueError("its foot is longer than the file")
    try:
        foot = _Thrift(data, len(data) - 8 - length).struct()
        chunks = [chunk[3] for group in foot[4] for chunk in group[1]]
        # Columns that overlap would let the same bytes be unpacked many times.
        if sum(chunk[7] for chunk in chunks) > len(data) or any(chunk[7] < 0 for chunk in chunks):
            raise ValueError("its columns overlap")
        return sum(_chunk_size(data, chunk) for chunk in chunks)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("its foot cannot be read") from error


def _chunk_size(data: bytes, chunk: Fields) -> int:
    """Return what the pages of a column come to."""
    # 9 is where pages of values begin, 11 where the page of a dictionary does, if there is one.
    values, words = chunk[9], chunk.get(11) or chunk[9]
    start = min(values, words)
    if not 0 < start == words:
        raise ValueError("its pages are not in order")
    return sum(map(_page_size, _pages(data, start, start + chunk[7])))


def _pages(data: bytes, place: int, end: int) -> Iterator[Fields]:
    while place < end:
        reader = _Thrift(data, place)
        page = reader.struct()
        if page[3] < 0:
            raise ValueError("a page has a size below 0")
        place = reader.place + page[3]
        yield page


def _page_size(page: Fields) -> int:
    # 5 is the head of a page of values, 7 of a dictionary, 8 of values in the second version.
    values = max(page.get(kind, {}).get(1, 0) for kind in (5, 7, 8))
    # A value that is repeated takes no bytes of its page, but memory each time.
    return max(0, int(page[2])) + _TEXT * max(0, int(values))


@dataclass
class _Thrift:
    """Reads the compact protocol of Thrift at a *place*."""

    data: bytes
    place: int

    def struct(self, depth: int = 0) -> Fields:
        """Return the fields of a struct by number."""
        if depth > _DEEPEST:
            raise ValueError("its heads are nested too deep")
        fields: Fields = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._whole()
            fields[number] = _BOOLEANS[kind] if kind in _BOOLEANS else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _WHOLE:
            return self._byte() if _WHOLE[kind] else self._whole()
        match kind:
            case 8:  # a text
                self._skip(self._varint())
            case 7:  # a double
                self._skip(8)
            case 9 | 10:  # a list or a set
                return self._list(depth)
            case 12:
                return self.struct(depth + 1)
            case 1 | 2:  # within a list
                return self._byte() == 1
            case _:
                raise ValueError(f"its heads hold a value of kind {kind}")
        return None

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 != 15 else self._varint()
        if count > len(self.data) - self.place:  # each takes a byte or more
            raise ValueError("a list is longer than the file")
        return [self._value(head & 15, depth + 1) for _ in range(count)]

    def _byte(self) -> int:
        self.place += 1
        return self.data[self.place - 1]

    def _skip(self, count: int) -> None:
        if count > len(self.data) - self.place:
            raise ValueError("a text is longer than the file")
        self.place += count

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number is too long")

    def _whole(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
