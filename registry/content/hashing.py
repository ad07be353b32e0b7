"""Stored bytes, hashed once more."""

import asyncio

from registry.domain.names import Hasher
from storage.backend import BlobReader

PIECE = 1024 * 1024


async def hash_piece(reader: BlobReader, offset: int, hasher: Hasher) -> int:
    """Give the piece at `offset` to the hasher; return its size, 0 at the end."""
    piece = await reader.read(offset, min(PIECE, reader.size - offset))
    await asyncio.to_thread(hasher.update, piece)
    return len(piece)
