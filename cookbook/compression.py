"""What aiohttp compresses by, where isal is installed: a fraction of the time.

Bodies of requests are decompressed by zlib. isal takes one that is broken off
for a whole one, and what follows its end for nothing.
"""

from zlib import (
    MAX_WBITS,
    Z_FINISH,
    Z_FULL_FLUSH,
    Z_SYNC_FLUSH,
    decompress,
    decompressobj,
)

from isal.isal_zlib import Z_BEST_SPEED, compress, compressobj

__all__ = [
    "MAX_WBITS",
    "Z_BEST_SPEED",
    "Z_FINISH",
    "Z_FULL_FLUSH",
    "Z_SYNC_FLUSH",
    "compress",
    "compressobj",
    "decompress",
    "decompressobj",
]
