"""Lines of JSON that end with a checksum of themselves: no changed byte goes unnoticed."""

from zlib import crc32

_CHECK = b',"check":"%08x"}\n'
_LENGTH = len(_CHECK % 0)


def seal(encoded: bytes) -> bytes:
    """Return a line with an *encoded* object that is not empty, and the checksum in it."""
    body = encoded[:-1]
    return body + _CHECK % crc32(body)


def unseal(line: bytes) -> bytes:
    """Return the object that was sealed; raises ValueError if it is not the same any more."""
    body, check = line[:-_LENGTH], line[-_LENGTH:]
    if check != _CHECK % crc32(body):
        raise ValueError("the line does not agree with its checksum")
    return body + b"}"
