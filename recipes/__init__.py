"""The content: one file for each question of aiohttp's FAQ."""
