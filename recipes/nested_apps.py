# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.10,<4"]
# ///
"""Does aiohttp have a concept like Flask's "blueprint" or Django's "app"?

Nest applications: `add_subapp` mounts one `Application` in another, and it has
routes, middlewares and state of its own. Make it in a function, which you can
call for each prefix. Add its routes first, because mounting freezes it. Make
links by `url_for`, because that knows the whole prefix.

Try it::

    $ curl localhost:8080/
    {"links": ["/blog/", "/news/"]}
    $ curl localhost:8080/news/
    {"links": ["/news/posts/1", "/news/posts/2"]}
    $ curl -i localhost:8080/blog/admin/
    HTTP/1.1 200 OK...X-Trace: recipe, blog, admin...{"section": "admin"}
    $ curl localhost:8080/blog/nowhere
    {"error": "no such page", "section": "blog"}

Good to know:

- Middlewares run from the outside in. They also run for a 404 or 405 below the
  prefix, and get it as an exception. Other prefixes do not reach them.
- Names of routes belong to one application (aiohttp#1489).
- A prefix without its slash is a 404, unless you add a route for `""`.
- Cleanup contexts of an outer application are entered first and left first.
  Within one application, they are left in reverse.
- `client_max_size` counts on the outermost application only.
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
    path = request.rel_url.raw_path
    query = request.rel_url.raw_query_string
    # A text, because aiohttp quotes a text and not a URL. Its Python parser
    # lets bytes above 127 into a query, and a header cannot hold them all.
    raise web.HTTPPermanentRedirect(f"{path}/?{query}")


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
