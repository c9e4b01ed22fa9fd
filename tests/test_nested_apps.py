"""Proofs for recipes/nested_apps.py."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from recipes import nested_apps
from tests.conftest import Serve
from tests.servers import Server


@pytest.fixture
def application() -> web.Application:
    return nested_apps.create_app()


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
    ("method", "path", "status", "trace"),
    [
        ("GET", "", 200, "recipe"),
        ("GET", "nowhere", 404, "recipe"),
        ("POST", "", 405, "recipe"),
        ("GET", "blog/", 200, "recipe, blog"),
        ("GET", "blog/nowhere", 404, "recipe, blog"),
        ("POST", "blog/", 405, "recipe, blog"),
        ("GET", "blog", 308, "recipe, blog"),
        ("GET", "news/posts/1", 200, "recipe, news"),
        ("GET", "news/admin/", 404, "recipe, news"),
        ("GET", "blog/admin/", 200, "recipe, blog, admin"),
        ("GET", "blog/admin/nowhere", 404, "recipe, blog, admin"),
        ("PUT", "blog/admin/", 405, "recipe, blog, admin"),
        ("GET", "blogger", 404, "recipe"),
    ],
)
async def test_the_trace_names_the_middlewares_from_the_outside_in(
    client: ClientSession, method: str, path: str, status: int, trace: str
) -> None:
    async with client.request(method, path, allow_redirects=False) as response:
        assert response.status == status
        assert response.headers["X-Trace"] == trace


async def test_an_answer_from_further_out_is_left_alone(
    client: ClientSession, server: Server
) -> None:
    async with client.get("blog/", headers={"Host": "evil"}) as response:
        refused = response.status == 421
    assert refused == (server.url.path != "/")
    assert refused == ("X-Trace" not in response.headers)


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


@pytest.mark.parametrize(
    ("path", "trace"),
    [
        ("/blog/", "recipe"),
        ("blog%2Fadmin/", "recipe"),
        ("blog/../news/", "recipe, blog"),
        ("blog/%2e%2e/news/", "recipe, blog"),
    ],
)
async def test_no_spelling_of_a_path_leads_from_one_section_to_another(
    client: ClientSession, server: Server, path: str, trace: str
) -> None:
    url = URL(f"{server.url}{path}", encoded=True)
    async with client.get(url) as response:
        assert response.status == 404
        assert response.headers["X-Trace"] == trace


async def test_an_expectation_is_refused_ahead_of_the_middlewares(
    client: ClientSession,
) -> None:
    async with client.get("blog/", headers={"Expect": "x"}) as response:
        assert response.status == 417
        assert "X-Trace" not in response.headers


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


async def test_starts_and_stops_go_from_the_outside_in(serve: Serve) -> None:
    events: list[str] = []

    def write_down(app: web.Application, name: str) -> None:
        async def note(event: str) -> None:
            events.append(f"{event} {name}")

        @asynccontextmanager
        async def lifetime(app: web.Application) -> AsyncIterator[None]:
            await note("enter")
            yield
            await note("leave")

        app.cleanup_ctx.append(lifetime)
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
    pairs = [("enter", "start"), ("shut down",), ("leave", "clean up")]
    assert events == [
        f"{event} {name}" for pair in pairs for name in apps for event in pair
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
