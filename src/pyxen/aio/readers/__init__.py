"""The readers, for asyncio."""
