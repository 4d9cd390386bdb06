"""One Chromium and one server on this machine; every request to anywhere else is refused and remembered."""

import functools
import http.server
import shutil
import threading
from collections import namedtuple
from urllib.parse import unquote, urlparse

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.built import BOOK

ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
        "--disable-component-update", "--force-color-profile=srgb"]
READY = "() => !window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)"
Visit = namedtuple("Visit", "page outside console requested")


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def book():
    """The built book's folder."""
    if not (BOOK / "index.html").exists():
        pytest.fail(f"there is no built book in {BOOK}: run make book first", pytrace=False)
    return BOOK


@pytest.fixture(scope="session")
def address(book):
    """The book's address on this machine."""
    handler = functools.partial(Quiet, directory=str(book))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def visit(chromium, address):
    """visit(path, **context options) -> Visit with the page loaded, its widgets drawn, its formulas set.

    Pages of the same options share a context, so that scripts come from its cache; `fresh=True` starts with none.
    """
    contexts = {}

    def context_of(options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, "has_touch": True} | options)
        context.outside = []
        context.set_default_timeout(90_000)     # a machine with other work to do is slow, not wrong

        def route(route):
            url = route.request.url
            if url.startswith(("data:", "blob:")) or urlparse(url).hostname == "127.0.0.1":
                return route.continue_()
            context.outside.append(url)
            return route.abort()

        context.route("**/*", route)
        return context

    def go(path, fresh=False, **options):
        key = tuple(sorted(options.items()))
        context = context_of(options) if fresh else contexts.get(key) or contexts.setdefault(key, context_of(options))
        context.outside.clear()
        page, console, requested = context.new_page(), [], {}
        page.on("console", lambda m: console.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: console.append(f"error: {error}"))
        page.on("response", lambda r: requested.setdefault(unquote(urlparse(r.url).path), r.status))
        page.goto(f"{address}/{path}", wait_until="load")
        if options.get("java_script_enabled", True):
            page.wait_for_function(READY)
            views = page.locator("script[type='application/vnd.jupyter.widget-view+json']").count()
            page.wait_for_function("n => document.querySelectorAll('.gw').length >= n", arg=views)
            page.wait_for_load_state("networkidle")
        return Visit(page, context.outside, console, requested)

    yield go
    for context in contexts.values():
        context.close()
