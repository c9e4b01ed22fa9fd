"""Proofs for recipes/nested_apps.py."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from recipes import nested_apps
from tests.conftest import Serve, Tier
from tests.servers import PARSERS, Server, check_odd_queries


@pytest.fixture
def application(recipe: Tier) -> web.Application:
    return recipe.create_app()


@pytest.fixture(params=["blog/", "news/", "by itself"])
async def section(
    request: pytest.FixtureRequest, serve: Serve
) -> tuple[str, URL]:
    """A section's name and address, nested in the recipe or by itself."""
    if request.param == "by itself":
        server = await serve(nested_apps.create_section("own"))
        return "own", server.url
    server = await serve(nested_apps.create_app())
    return request.param.strip("/"), server.url / request.param


@pytest.fixture
async def anyone() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def test_the_index_links_to_both_sections(
    client: ClientSession, server: Server
) -> None:
    async with client.get("") as response:
        links = (await response.json())["links"]
    assert links == [f"{server.url.path}blog/", f"{server.url.path}news/"]
    for link in links:
        async with client.get(link) as response:
            assert response.status == 200


async def test_a_section_links_to_its_posts(
    anyone: ClientSession, section: tuple[str, URL]
) -> None:
    name, url = section
    async with anyone.get(url) as response:
        links = (await response.json())["links"]
    assert links == [f"{url.path}posts/1", f"{url.path}posts/2"]
    for post_id, link in enumerate(links, 1):
        async with anyone.get(url.join(URL(link))) as response:
            answer = await response.json()
        assert (answer["section"], answer["id"]) == (name, post_id)


@pytest.mark.parametrize(
    "path", ["nowhere", "posts/", "posts/3", "posts/x", f"posts/{'9' * 5000}"]
)
async def test_a_section_explains_what_it_does_not_have(
    anyone: ClientSession, section: tuple[str, URL], path: str
) -> None:
    name, url = section
    async with anyone.get(url.join(URL(path))) as response:
        assert response.status == 404
        answer = await response.json()
    assert answer == {"error": "no such page", "section": name}


@pytest.mark.parametrize("path", ["posts/1", ""])
async def test_a_section_tells_which_methods_it_has(
    anyone: ClientSession, section: tuple[str, URL], path: str
) -> None:
    async with anyone.post(section[1].join(URL(path))) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize(
    ("path", "trace"),
    [
        ("", "recipe"),
        ("blog/", "recipe, blog"),
        ("blog/posts/1", "recipe, blog"),
        ("news/posts/1", "recipe, news"),
        ("blog/admin/", "recipe, blog, admin"),
    ],
)
async def test_the_trace_names_the_middlewares_from_the_outside_in(
    client: ClientSession, path: str, trace: str
) -> None:
    async with client.get(path) as response:
        assert response.status == 200
        assert response.headers["X-Trace"] == trace


async def test_a_404_of_the_admin_is_explained_by_its_section(
    client: ClientSession,
) -> None:
    async with client.get("blog/admin/nowhere") as response:
        assert response.status == 404
        answer = await response.json()
    assert answer == {"error": "no such page", "section": "blog"}


@pytest.mark.parametrize(
    "path", ["nowhere", "blogger", "news/admin/", "/blog/"]
)
async def test_a_404_of_another_prefix_does_not_reach_the_blog(
    client: ClientSession, server: Server, path: str
) -> None:
    url = URL(f"{server.url}{path}", encoded=True)
    async with client.get(url) as response:
        assert response.status == 404
        assert '"section": "blog"' not in await response.text()


@pytest.mark.parametrize("path", ["blog", "news", "blog/admin"])
async def test_a_bare_prefix_is_redirected_with_its_query(
    client: ClientSession, server: Server, path: str
) -> None:
    query = "?a=%FF&b=%2B+;"
    url = URL(f"{server.url}{path}{query}", encoded=True)
    async with client.get(url, allow_redirects=False) as response:
        assert response.status == 308
        location = f"{server.url.path}{path}/{query}"
        assert response.headers["Location"] == location


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_query_with_bytes_above_127_gets_an_answer_of_either_parser(
    recipe: Tier, tmp_path: Path, parser: str
) -> None:
    await check_odd_queries(Path(recipe.__file__), tmp_path, "/blog", parser)


@pytest.mark.parametrize(
    ("path", "section"),
    [
        ("blog%2Fadmin/", None),
        ("blog/../news/", "blog"),
        ("blog/%2e%2e/news/", "blog"),
    ],
)
async def test_dots_and_encoded_slashes_lead_to_no_other_section(
    client: ClientSession, server: Server, path: str, section: str | None
) -> None:
    url = URL(f"{server.url}{path}", encoded=True)
    async with client.get(url) as response:
        assert response.status == 404
        text = await response.text()
    assert ('"section": "blog"' in text) == (section == "blog")


async def test_two_levels_deep_is_served_too(client: ClientSession) -> None:
    async with client.get("blog/admin/") as response:
        assert await response.json() == {"section": "admin"}


async def test_a_setting_further_out_is_seen_through_config_dict(
    client: ClientSession, serve: Serve
) -> None:
    async with client.get("blog/posts/1") as response:
        assert (await response.json())["site"] == "The cookbook"
    alone = await serve(nested_apps.create_section("own"))
    async with client.get(alone.url / "posts/1") as response:
        assert (await response.json())["site"] is None


def sections_of(app: web.Application) -> Iterator[web.Application]:
    for resource in app.router.resources():
        if section := resource.get_info().get("app"):
            yield section


def test_a_setting_further_out_is_not_the_sections_own() -> None:
    app = nested_apps.create_app()
    sections = list(sections_of(app))
    assert len(sections) == 2
    for section in sections:
        with pytest.raises(KeyError):
            section[nested_apps.SITE]


def test_a_mounted_section_takes_no_more_routes() -> None:
    for section in sections_of(nested_apps.create_app()):
        with pytest.raises(RuntimeError, match="frozen router"):
            section.add_routes(nested_apps.admin_routes)
        with pytest.raises(RuntimeError):
            section.add_subapp("/admin", nested_apps.create_admin())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "section/", 200),
        ("GET", "section/admin/", 200),
        ("POST", "section/", 405),
        ("POST", "section/admin/", 405),
    ],
)
async def test_middlewares_run_from_the_outside_in_and_back(
    recipe: Tier, serve: Serve, method: str, path: str, status: int
) -> None:
    events: list[str] = []

    def note(name: str) -> Middleware:
        @web.middleware
        async def middleware(
            request: web.Request, handler: Handler
        ) -> web.StreamResponse:
            events.append(f"into {name}")
            try:
                return await handler(request)
            finally:
                events.append(f"out of {name}")

        return middleware

    admin, section = nested_apps.create_admin(), web.Application()
    app = web.Application(middlewares=[note("app")])
    section.add_routes(nested_apps.section_routes)
    section.middlewares.append(note("section"))
    section[nested_apps.SECTION] = "own"
    admin.middlewares.append(note("admin"))
    section.add_subapp("/admin", admin)
    app.add_subapp("/section", section)
    server = await serve(app)
    async with (
        ClientSession(server.url) as client,
        client.request(method, path) as response,
    ):
        assert response.status == status
    names = ["app", "section"]
    if "admin" in path:
        names.append("admin")
    assert events == [
        *(f"into {name}" for name in names),
        *(f"out of {name}" for name in reversed(names)),
    ]


async def test_contexts_are_left_in_reverse_only_within_an_application(
    serve: Serve,
) -> None:
    events: list[str] = []

    def write_down(app: web.Application, name: str) -> None:
        async def note(event: str) -> None:
            events.append(f"{event} {name}")

        async def first(app: web.Application) -> AsyncIterator[None]:
            await note("enter the first of")
            yield
            await note("leave the first of")

        async def second(app: web.Application) -> AsyncIterator[None]:
            await note("enter the second of")
            yield
            await note("leave the second of")

        app.cleanup_ctx.extend([first, second])
        app.on_startup.append(lambda app: note("start"))
        app.on_shutdown.append(lambda app: note("shut down"))
        app.on_cleanup.append(lambda app: note("clean up"))

    app, section = web.Application(), nested_apps.create_section("own")
    admin = nested_apps.create_admin()
    apps = {"app": app, "section": section, "admin": admin}
    for name, each in apps.items():
        write_down(each, name)
    section.add_subapp("/admin", admin)
    app.add_subapp("/section", section)
    server = await serve(app)
    await server.stop()
    groups = [
        ("enter the first of", "enter the second of", "start"),
        ("shut down",),
        ("leave the second of", "leave the first of", "clean up"),
    ]
    assert events == [
        f"{event} {name}"
        for group in groups
        for name in apps
        for event in group
    ]


async def test_a_section_that_fails_to_start_leaves_others_entered(
    serve: Serve,
) -> None:
    events: list[str] = []

    async def enter(app: web.Application) -> AsyncIterator[None]:
        events.append("enter")
        yield
        events.append("leave")

    async def fail(app: web.Application) -> None:
        raise OSError("refused")

    app, section = web.Application(), nested_apps.create_section("own")
    section.cleanup_ctx.append(enter)
    section.on_startup.append(fail)
    app.add_subapp("/section", section)
    with pytest.raises(OSError, match="refused"):
        await serve(app)
    assert events == ["enter"]


async def test_one_instance_mounted_twice_answers_under_neither_prefix(
    anyone: ClientSession, serve: Serve
) -> None:
    app, section = web.Application(), nested_apps.create_section("own")
    app.add_subapp("/a", section)
    app.add_subapp("/b", section)
    server = await serve(app)
    for path, status in [("a/", 404), ("b/", 404), ("b/a/", 200)]:
        async with anyone.get(server.url.join(URL(path))) as response:
            assert response.status == status


def test_names_of_routes_belong_to_one_application() -> None:
    app = nested_apps.create_app()
    for section in sections_of(app):
        assert "post" in section.router
    assert "post" not in app.router


async def test_a_prefix_without_its_slash_is_404_without_a_route_for_it(
    anyone: ClientSession, serve: Serve
) -> None:
    app, section = web.Application(), web.Application()
    section.router.add_get("/", nested_apps.list_posts)
    app.add_subapp("/section", section)
    server = await serve(app)
    async with anyone.get(server.url / "section") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("outer", "inner", "status"), [(1000, 5000, 413), (5000, 1000, 200)]
)
async def test_client_max_size_counts_on_the_outermost_application(
    anyone: ClientSession, serve: Serve, outer: int, inner: int, status: int
) -> None:
    async def read(request: web.Request) -> web.Response:
        return web.json_response(len(await request.read()))

    app = web.Application(client_max_size=outer)
    section = web.Application(client_max_size=inner)
    section.router.add_post("/", read)
    app.add_subapp("/section", section)
    server = await serve(app)
    body = bytes(2000)
    async with anyone.post(server.url / "section/", data=body) as response:
        assert response.status == status
