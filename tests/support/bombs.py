"""Archives of some kilobytes that unpack to very much."""

import zstandard

_MEGABYTE = bytes(1 << 20)


def packed_zeros(megabytes: int) -> bytes:
    """Return a frame that stands for so many MiB of zeros, with a window of 8 MiB.

    It is that of level 19, whose search for the best is left out: of zeros there is nothing better.
    """
    level = zstandard.ZstdCompressionParameters.from_level(19, strategy=zstandard.STRATEGY_DFAST)
    packer = zstandard.ZstdCompressor(compression_params=level).compressobj()
    parts = [packer.compress(_MEGABYTE) for _ in range(megabytes)]
    return b"".join([*parts, packer.flush()])
