"""What a recipe is: a module, where it is mounted, and what belongs to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from cookbook.docs import Docs
from cookbook.traps import Trap, read_traps

if TYPE_CHECKING:
    # `aiohttp-cookbook explain` starts in half the time without it.
    from aiohttp import web


class Module(Protocol):
    """A file of `recipes/`: a docstring to read and an application to run."""

    __name__: str
    __file__: str | None
    __doc__: str | None

    @property
    def create_app(self) -> Callable[..., "web.Application"]: ...


@dataclass(frozen=True)
class Settings:
    """What the server gives to the recipes; a recipe takes what it needs."""

    redis_url: str
    postgres_url: str
    data_dir: Path
    session_key: str
    work_here: bool = True
    """Whether jobs are run in this process; otherwise, another one does."""
    proxies: tuple[str, ...] = ()
    """The networks that a proxy connects from. Nobody else is believed."""


Options = Callable[[Settings], Mapping[str, Any]]
"""Returns what the `create_app` of a recipe is called with."""


def no_options(settings: Settings) -> Mapping[str, Any]:
    """Return the options of a recipe that takes none."""
    return {}


@dataclass(frozen=True)
class Recipe:
    """A module of `recipes/` or `recipes/production/`, mounted at `prefix`.

    The files that belong to it bear its name. A path is returned whether the
    file is there or not: an installed copy has no tests. The index lists it
    under its topic.
    """

    module: Module
    prefix: str
    options: Options = no_options
    topic: str = ""

    @classmethod
    def of_production(
        cls, module: Module, options: Options = no_options
    ) -> Self:
        """Make the recipe of a production file; its name tells its prefix."""
        _, _, name = module.__name__.rpartition(".")
        return cls(module, f"/production/{name.replace('_', '-')}", options)

    def create_app(self, settings: Settings) -> "web.Application":
        """Build the application, with the options that it takes."""
        return self.module.create_app(**self.options(settings))

    @property
    def name(self) -> str:
        """The name of the module, without its package."""
        return self.module.__name__.rpartition(".")[2]

    @property
    def file(self) -> Path:
        """The file of the module."""
        return Path(str(self.module.__file__))

    @property
    def source(self) -> str:
        """The text of the file, as it is on disk now."""
        return self.file.read_text(encoding="utf-8")

    @cached_property
    def docs(self) -> Docs:
        """The docstring of the module, in its parts."""
        return Docs.parse(self.module.__doc__ or "")

    @property
    def page(self) -> str:
        """The path of the page; a production file is on that of its answer."""
        return f"/recipes/{self.name}"

    @property
    def production_file(self) -> Path:
        """The production file beside an answer; not all have one."""
        return self.file.parent / "production" / self.file.name

    @property
    def patch_for_4_0(self) -> Path:
        """What an answer needs on aiohttp 4.0; most need nothing."""
        return self.file.parent / "on_4_0" / f"{self.name}.patch"

    @property
    def note_on_4_0(self) -> Path:
        """Why an answer runs on aiohttp 4.0, and fails one of its tests."""
        return self.file.parent / "on_4_0" / f"{self.name}.md"

    @property
    def starter_test(self) -> Path:
        """The test that a reader copies beside an answer."""
        return self.file.parent / "testing" / f"test_{self.file.name}"

    @property
    def tests(self) -> Path:
        """The tests of the file."""
        return self._tests_of(self.file)

    @property
    def production_tests(self) -> Path:
        """The tests of the production file beside an answer."""
        return self._tests_of(self.production_file)

    @cached_property
    def traps(self) -> list[Trap]:
        """The wrong ways beside an answer, in the order of their names.

        Comparing each with its pair takes a few milliseconds.
        """
        pairs = [self.file, self.production_file]
        return read_traps(
            self.file.parent / "traps" / self.name,
            [pair for pair in pairs if pair.exists()],
        )

    def _tests_of(self, file: Path) -> Path:
        recipes = next(each for each in file.parents if each.name == "recipes")
        place = file.relative_to(recipes).parent
        return recipes.parent / "tests" / place / f"test_{file.name}"
