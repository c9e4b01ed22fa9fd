"""The project of a recipe, to be downloaded: what `new` writes, as a zip."""

import asyncio
from hashlib import sha256
from pathlib import Path

from aiohttp import hdrs, web

from cookbook.pages.documents import RENDERING, REVALIDATE
from cookbook.recipe import Recipe


class ArchivePage:
    """A recipe's project at `path`; made when it is first asked for."""

    def __init__(self, recipe: Recipe, path: str, *, production: bool) -> None:
        self._recipe = recipe
        self._path = path
        self._production = production
        self._archive: bytes | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the archive."""
        return [web.get(self._path, self.respond)]

    async def respond(self, request: web.Request) -> web.Response:
        """Send the archive, or 304 to whoever has it."""
        archive = await self._read(request.app[RENDERING])
        etag = sha256(archive).hexdigest()[:16]
        known = {each.value for each in request.if_none_match or ()}
        headers = {hdrs.CACHE_CONTROL: REVALIDATE, hdrs.ETAG: f'"{etag}"'}
        if known & {etag, "*"}:
            return web.Response(status=304, headers=headers)
        headers[hdrs.CONTENT_TYPE] = "application/zip"
        return web.Response(body=archive, headers=headers)

    async def _read(self, lock: asyncio.Lock) -> bytes:
        async with lock:
            if self._archive is None:
                self._archive = await asyncio.to_thread(self._make)
            return self._archive

    def _make(self) -> bytes:
        # It renders the templates of this package, which is not whole before.
        from cookbook.project import archive, files_of, read_project

        recipes: Path = self._recipe.file.parent
        name = self._recipe.name
        project = read_project(
            recipes, [name], name, production=self._production
        )
        files = files_of(project, recipes.with_name("deploy"))
        return archive(project.name, files)
