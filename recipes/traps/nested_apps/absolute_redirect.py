# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4"]
# ///
"""A redirect to a literal path leaves the nested application.

An application does not know where it will be mounted. A literal path begins at
the root of the site, so it is right for one prefix at most. Here the second
section redirects to the first. The router and the request know the prefix: use
`request.app.router[name].url_for()`, or begin with `request.rel_url.raw_path`.

Try it::

    $ curl -i localhost:8080/news
    HTTP/1.1 308 Permanent Redirect...Location: /blog/...
    $ curl -L localhost:8080/news
    {"links": ["/blog/posts/1", "/blog/posts/2"]}
"""

import os

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

SITE = web.AppKey("SITE", str)
SECTION = web.AppKey("SECTION", str)
SECTIONS = web.AppKey("SECTIONS", list[web.Application])
POSTS = ("1", "2")

routes = web.RouteTableDef()
section_routes = web.RouteTableDef()
admin_routes = web.RouteTableDef()


# answer
def create_section(name: str) -> web.Application:
    section = web.Application(middlewares=[trace(name), explain_missing])
    section[SECTION] = name
    section.add_routes(section_routes)
    return section


def add_sections(app: web.Application) -> None:
    blog = create_section("blog")
    news = create_section("news")
    # From the inside out: once the blog is mounted, it takes nothing more.
    blog.add_subapp("/admin", create_admin())
    app.add_subapp("/blog", blog)
    app.add_subapp("/news", news)
    app[SECTIONS] = [blog, news]


# end of answer


@routes.get("/")
async def list_sections(request: web.Request) -> web.Response:
    """Link to the sections."""
    links = []
    for section in request.app[SECTIONS]:
        index = section.router["index"]
        links.append(str(index.url_for()))
    return web.json_response({"links": links})


@section_routes.get("/", name="index")
async def list_posts(request: web.Request) -> web.Response:
    """Link to the posts of this section, with its prefix."""
    route = request.app.router["post"]
    links = [str(route.url_for(id=post_id)) for post_id in POSTS]
    return web.json_response({"links": links})


# answer
@section_routes.get("/posts/{id}", name="post")
async def read_post(request: web.Request) -> web.Response:
    """Return a post, with a setting of the outermost application."""
    post_id = request.match_info["id"]
    if post_id not in POSTS:
        raise web.HTTPNotFound
    # `request.app` is the section, with its own keys. `config_dict` finds those
    # of the outer applications, too.
    section = request.app[SECTION]
    site = request.config_dict.get(SITE)
    answer = {"section": section, "id": int(post_id), "site": site}
    return web.json_response(answer)


# end of answer


@admin_routes.get("/")
async def administrate(request: web.Request) -> web.Response:
    """Answer two levels deep."""
    return web.json_response({"section": request.app[SECTION]})


@section_routes.get("")
@admin_routes.get("")
async def add_slash(request: web.Request) -> web.Response:
    """Redirect the prefix without its slash to the page below it."""
    raise web.HTTPPermanentRedirect("/blog/")


@web.middleware
async def explain_missing(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        # Here `request.app` is the section, even if its admin raised.
        section = request.app[SECTION]
        answer = {"error": "no such page", "section": section}
        return web.json_response(answer, status=404)


# Only for this demonstration:


def trace(name: str) -> Middleware:
    @web.middleware
    async def add_name(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        response = await handler(request)
        inner = response.headers.get("X-Trace")
        response.headers["X-Trace"] = f"{name}, {inner}" if inner else name
        return response

    return add_name


def create_admin() -> web.Application:
    admin = web.Application(middlewares=[trace("admin")])
    admin[SECTION] = "admin"
    admin.add_routes(admin_routes)
    return admin


def create_app() -> web.Application:
    app = web.Application(middlewares=[trace("recipe")])
    app[SITE] = "The cookbook"
    app.add_routes(routes)
    add_sections(app)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    try:
        web.run_app(
            create_app(), host="127.0.0.1", port=port, shutdown_timeout=5
        )
    except OSError as error:
        raise SystemExit(f"cannot start: {error}") from None
