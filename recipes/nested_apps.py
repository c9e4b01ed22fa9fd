# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.14.3,<4"]
# ///
"""Does aiohttp have a concept like Flask's "blueprint" or Django's "app"?

Yes: an `Application` added to another by `add_subapp`, with routes, middlewares
and state of its own. Build them from the inside out, because the call freezes
what it adds. The same factory may be mounted twice, as two instances; one
instance mounted twice answers under neither prefix.

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

- Middlewares run from the outside in, also for a 404 or 405 under the prefix,
  which they see as an exception. Other paths pass them by.
- Names of routes are per application (aiohttp#1489), and `url_for` knows the
  whole prefix. An absolute redirect to a literal path forgets it.
- A handler's `request.app` is the innermost application, which has no key of
  an outer one; `request.config_dict` finds them all, the nearest first.
- A prefix alone, as `/blog`, is a 404 unless the nested application has a
  route for the empty path. `client_max_size` counts only on the outermost.
- Contexts are entered from the outside in, and left in that order too, not in
  reverse. If one fails to start, nested ones entered before are not left.
"""

import json
import os

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

TRACE = web.RequestKey("TRACE", str)
SITE = web.AppKey("SITE", str)
SECTION = web.AppKey("SECTION", str)
SECTIONS = web.AppKey("SECTIONS", list[web.Application])
POSTS = ("1", "2")

routes = web.RouteTableDef()
section_routes = web.RouteTableDef()
admin_routes = web.RouteTableDef()


def trace(name: str) -> Middleware:
    @web.middleware
    async def add_name(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        outer = request.get(TRACE)
        request[TRACE] = f"{outer}, {name}" if outer else name
        return await handler(request)

    return add_name


async def add_trace(request: web.Request, response: web.StreamResponse) -> None:
    # A middleware further out may have refused before ours were passed.
    if TRACE in request:
        response.headers["X-Trace"] = request[TRACE]


@web.middleware
async def explain_missing(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        # Here, outside of the handler, it is this middleware's application.
        error = {"error": "no such page", "section": request.app[SECTION]}
        raise web.HTTPNotFound(
            text=json.dumps(error), content_type="application/json"
        ) from None


@routes.get("/")
async def list_sections(request: web.Request) -> web.Response:
    """Link to the sections."""
    indexes = [app.router["index"] for app in request.app[SECTIONS]]
    return web.json_response({"links": [str(i.url_for()) for i in indexes]})


@section_routes.get("/", name="index")
async def list_posts(request: web.Request) -> web.Response:
    """Link to the posts of this section, wherever it is mounted."""
    post = request.app.router["post"]
    links = [str(post.url_for(id=post_id)) for post_id in POSTS]
    return web.json_response({"links": links})


@section_routes.get("/posts/{id}", name="post")
async def read_post(request: web.Request) -> web.Response:
    """Return a post, and a setting of the outermost application."""
    post_id = request.match_info["id"]
    if post_id not in POSTS:
        raise web.HTTPNotFound
    section, site = request.app[SECTION], request.config_dict.get(SITE)
    return web.json_response(
        {"section": section, "id": int(post_id), "site": site}
    )


@admin_routes.get("/")
async def administrate(request: web.Request) -> web.Response:
    """Answer two levels deep."""
    return web.json_response({"section": request.app[SECTION]})


@section_routes.get("")
@admin_routes.get("")
async def add_slash(request: web.Request) -> web.Response:
    """Redirect the prefix alone to the page below it."""
    url = request.rel_url
    location = url.with_path(f"{url.path}/", keep_query=True)
    raise web.HTTPPermanentRedirect(location)


def create_section(name: str) -> web.Application:
    app = web.Application(middlewares=[trace(name), explain_missing])
    app[SECTION] = name
    app.add_routes(section_routes)
    return app


def create_admin() -> web.Application:
    app = web.Application(middlewares=[trace("admin")])
    app[SECTION] = "admin"
    app.add_routes(admin_routes)
    return app


def create_app() -> web.Application:
    blog, news = create_section("blog"), create_section("news")
    # Once the blog is mounted, this raises RuntimeError.
    blog.add_subapp("/admin", create_admin())
    app = web.Application(middlewares=[trace("recipe")])
    app[SITE] = "The cookbook"
    app[SECTIONS] = [blog, news]
    app.on_response_prepare.append(add_trace)
    app.add_routes(routes)
    app.add_subapp("/blog", blog)
    app.add_subapp("/news", news)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(create_app(), host="127.0.0.1", port=port, shutdown_timeout=5)
