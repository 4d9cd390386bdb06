"""Live models in the built book: nothing before the click, then answers as PyTorch's, and kind failures."""

import json
import re

import pytest
import torch

from genai_utils import live
from tests.browser import built, live_page

LIVE = [w for chapter in built.chapters() for w in built.widgets(chapter) if w.kind == "LiveRunner"]
FILES = re.compile(r".*/_static/live/.*")
SETTLED = "e => ['page', 'failed', 'stored'].includes(e.dataset.state)"
IDLE = "e => e.dataset.busy !== 'true'"
ASKED = """root => { const plain = (v) => (v?.data ? { dims: v.dims, data: Array.from(v.data, Number) } : v);
    return root.answer && Object.fromEntries(Object.entries(root.answer).map(([k, v]) => [k, plain(v)])); }"""
POLICY = ("default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src blob:; "
          "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; media-src data: blob:; "
          "connect-src 'self'; base-uri 'none'; form-action 'self'")


@pytest.fixture(scope="module", params=LIVE or [None], ids=str)
def shown(request, visit):
    """(visit, root, widget): one page for the tests of a widget, which run in the order of the file."""
    if request.param is None:
        pytest.fail("no page of the built book has a live model", pytrace=False)
    found, root = open_page(visit, request.param)
    yield found, root, request.param
    found.page.close()


def first(name=None):
    """The first live widget, or the one of a model."""
    return next(w for w in LIVE if name in (None, w.state["name"]))


def open_page(visit, widget, **options):
    """(page, root) of a fresh visit, the widget in view."""
    found = visit(widget.page, fresh=True, **options)
    root = found.page.locator(".gw").nth(widget.place)
    root.scroll_into_view_if_needed()
    return found, root


def run(root):
    """Press the button and wait for what comes of it."""
    root.locator(".gw-live-run").click()
    root.page.wait_for_function(SETTLED, arg=root.element_handle())
    root.page.wait_for_function(IDLE, arg=root.element_handle())
    return root.get_attribute("data-state")


def acts_of(root, widget):
    """Turn to every act in turn; yields its key and its panel."""
    acts = widget.state["acts"]
    for i, act in enumerate(acts):
        if len(acts) > 1:
            chooser = root.locator("xpath=./*[1]")
            if chooser.locator("select").count():
                chooser.locator("select").select_option(index=i)
            else:
                chooser.locator("input").nth(i).check()
            root.page.wait_for_function(SETTLED, arg=root.element_handle())
            root.page.wait_for_function(IDLE, arg=root.element_handle())
        yield act, root.locator(".gw-live-act:not([hidden])")


def status(root):
    return root.locator("[role=status]").inner_text()


PICTURE = """root => root.querySelector('.gw-live-act:not([hidden]) .gw-live-outputs').innerHTML +
    [...root.querySelectorAll('.gw-live-act:not([hidden]) canvas')].map((c) => c.toDataURL()).join()"""
GREY = """root => [...root.querySelectorAll('.gw-live-act:not([hidden]) .gw-live-pictures canvas')].map((c) =>
    Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).filter((_, i) => i % 4 === 0))"""
TEXTS = (".gw-live-bars", ".gw-live-tinted", ".gw-live-numbers")


def test_stored_examples_show_themselves_and_load_nothing(shown):
    found, root, widget = shown
    assert root.get_attribute("data-state") == "stored"
    for act, panel in acts_of(root, widget):
        if len(act["presets"]) < 2:
            continue
        seen = set()
        for i in [*range(1, len(act["presets"])), 0]:
            panel.get_by_label("example", exact=True).select_option(index=i)
            found.page.wait_for_function("([e, i]) => e.dataset.preset === `${i}`", arg=[root.element_handle(), i])
            found.page.wait_for_timeout(60)
            seen.add(root.evaluate(PICTURE))
        assert len(seen) == len(act["presets"])
    assert root.get_attribute("data-source") == "stored"
    assert not [path for path in found.requested if FILES.match(path)]


def test_controls_and_pictures_are_named(shown):
    _, root, widget = shown
    for control in root.locator("input, select, textarea").all():
        assert control.evaluate("e => [...e.labels].map((l) => l.textContent.trim()).join(' ')")
    for button in root.locator("button").all():
        assert button.evaluate("e => e.textContent.trim() || e.getAttribute('aria-label') || e.hidden")
    assert root.get_attribute("aria-label") == widget.state["alt"]
    assert root.locator("[role=status]").count() == 1


def test_every_act_answers_by_keyboard_what_pytorch_and_the_page_stored(shown):
    found, root, widget = shown
    name, entry = widget.state["name"], live.load(widget.state["name"])
    stored = {}
    for act, panel in acts_of(root, widget):
        stored[act["key"]] = root.evaluate(GREY), [panel.locator(s).all_inner_texts() for s in TEXTS]
    next(acts_of(root, widget))                        # back to the first
    root.locator(".gw-live-run").focus()
    found.page.keyboard.press("Enter")
    found.page.wait_for_function(SETTLED, arg=root.element_handle())
    for act, panel in acts_of(root, widget):
        if act["go"]:
            panel.get_by_role("button", name=act["go"], exact=True).focus()
            found.page.keyboard.press("Enter")
            found.page.wait_for_function("e => e.dataset.busy || +e.dataset.done > 0", arg=root.element_handle())
        found.page.wait_for_function(IDLE, arg=root.element_handle())
        theirs = live_page.as_tensors([{"value": root.evaluate(ASKED)}])[0]
        ours = live_page.python_steps(name, act["key"], live_page.inputs_of(entry.acts[act["key"]], {}))[-1]
        assert theirs.keys() == ours.keys()
        for key in ours:
            assert live_page.difference(theirs[key], ours[key]) < live_page.tolerance(name, key), (act["key"], key)
        before, texts = stored[act["key"]]
        for a, b in zip(root.evaluate(GREY), before, strict=True):
            far = (torch.tensor(a) - torch.tensor(b)).abs()
            assert far.max() <= 1 and (far > 0).double().mean() < 0.002, act["key"]
        assert [panel.locator(s).all_inner_texts() for s in TEXTS] == texts
    found.page.wait_for_load_state("networkidle")
    loaded = [path for path in found.requested if FILES.match(path)]
    assert loaded and {found.requested[path] for path in loaded} == {200}
    assert found.outside == [] and built.noise(found.console) == []


# ---- what may go wrong; one widget stands for all, since they share the loader


def test_it_runs_under_the_policy_that_the_book_documents(visit):
    found, root = open_page(visit, first())
    found.page.route("**/*.html", lambda route: route.fulfill(
        response=(got := route.fetch()), headers=got.headers | {"Content-Security-Policy": POLICY}))
    broken = []
    found.page.on("console", lambda m: broken.append(m.text) if "Content Security Policy" in m.text else None)
    found.page.reload(wait_until="load")
    found.page.wait_for_function("() => document.querySelector('.gw-run-live[data-state=stored]')")
    assert run(root) == "page" and broken == []
    text = (built.SOURCE / "book" / "how_to_use.md").read_text(encoding="utf-8")
    assert POLICY in " ".join(text.split())
    found.page.close()


def test_without_webassembly_it_says_so_and_keeps_the_stored_answers(visit, chromium, address):
    page = chromium.new_page()
    page.add_init_script("delete globalThis.WebAssembly")
    page.goto(f"{address}/{first().page}", wait_until="load")
    root = page.locator(".gw-run-live").first
    page.wait_for_function("() => document.querySelector('.gw-run-live[data-state=stored]')")
    assert run(root) == "failed"
    assert "no WebAssembly" in status(root)
    assert "stored" in status(root)
    page.close()


def test_blocked_files_are_said_and_a_second_try_works(visit):
    found, root = open_page(visit, first())
    found.page.route(re.compile(r".*/_static/live/wasm\..*"), lambda route: route.abort())
    assert run(root) == "failed"
    assert "cannot be loaded" in status(root)
    assert root.locator(".gw-live-outputs").first.inner_text().strip() and root.locator(".gw-live-run").is_enabled()
    found.page.unroute(re.compile(r".*/_static/live/wasm\..*"))
    assert run(root) == "page"
    found.page.close()


def test_loading_shows_how_far_it_is_and_can_be_cancelled(visit):
    found, root = open_page(visit, first())
    held = []
    found.page.route(re.compile(r".*/_static/live/wasm\.\w+\.3\.js"), lambda route: held.append(route))
    root.locator(".gw-live-run").click()
    bar = root.get_by_role("progressbar", name="loading the model")
    found.page.wait_for_function("e => e.value > 0", arg=bar.element_handle())
    assert 0 < bar.evaluate("e => e.value") < 1 and bar.is_visible()
    root.get_by_role("button", name="Cancel").click()
    for route in held:
        route.continue_()
    found.page.wait_for_function("e => e.dataset.state === 'stored'", arg=root.element_handle())
    assert "Cancelled" in status(root) and not bar.is_visible()
    found.page.unroute_all()
    assert run(root) == "page"
    found.page.close()


def test_memory_is_freed_when_the_last_widget_leaves_the_page(visit):
    found, root = open_page(visit, first())
    assert run(root) == "page"
    assert found.page.evaluate("() => !!globalThis.genaiWorker")
    root.evaluate("e => e.parentElement.remove()")
    found.page.wait_for_function("() => globalThis.genaiWorker === undefined")
    assert found.page.workers == []
    found.page.close()


def test_the_page_works_from_a_folder(chromium, book):
    page = chromium.new_page()
    page.goto((book / first().page).as_uri(), wait_until="load")
    page.wait_for_function("() => document.querySelector('.gw-run-live[data-state=stored]')")
    assert run(page.locator(".gw-run-live").first) == "page"
    page.close()


def test_a_seed_that_is_no_number_is_said_beside_the_field(visit):
    found, root = open_page(visit, first(name="diffusion"))
    assert run(root) == "page"
    field, draw = root.get_by_label("seed", exact=True), root.get_by_role("button", name="Draw", exact=True)
    for bad in ("abc", "", "-1", "1.5", "4294967296"):
        field.fill(bad)
        draw.click()
        said = root.get_by_role("alert").filter(has_text="whole number")
        assert said.count() == 1 and f"\u201c{bad}\u201d" in said.inner_text()
        assert field.get_attribute("aria-invalid") == "true" and root.get_attribute("data-busy") != "true"
    field.fill("12")
    draw.click()
    found.page.wait_for_function("e => +(e.dataset.done ?? 0) > 0", arg=root.element_handle())
    assert field.get_attribute("aria-invalid") is None
    found.page.close()


@pytest.mark.parametrize("name, bad, said", [
    ("gpt", "", "write something"), ("gpt", "a zebra " * 70, "tokens and 159 fit"), ("gpt", "x" * 601, "at most 600"),
    ("lstm", "", "write something"), ("lstm", "Größe 7", "never read ö ß 7"), ("bert", "", "write something"),
    ("bert", "zebra " * 90, "158 fit"),
], ids=lambda v: v[:12] if isinstance(v, str) else v)
def test_a_text_that_a_model_cannot_read_is_said_beside_the_field(visit, name, bad, said):
    widget = first(name=name)
    found, root = open_page(visit, widget)
    assert run(root) == "page"
    panel = root.locator(".gw-live-act").first
    field = panel.locator("textarea")
    good = field.input_value()
    field.fill(bad)
    problem = panel.get_by_role("alert").filter(has_text=said)
    problem.wait_for()
    assert field.get_attribute("aria-invalid") == "true" and field.get_attribute("aria-describedby")
    field.fill(good)
    found.page.wait_for_function("e => !e.querySelector('[aria-invalid]')", arg=root.element_handle())
    assert not problem.count()
    found.page.close()


def start_long_walk(visit):
    """(visit, root) with a hundred steps under way."""
    found, root = open_page(visit, first(name="diffusion"))
    assert run(root) == "page"
    root.get_by_label("steps", exact=True).evaluate("e => { e.value = 100; e.dispatchEvent(new Event('input')); }")
    root.get_by_role("button", name="Draw", exact=True).click()
    found.page.wait_for_function("e => +e.dataset.steps > 1", arg=root.element_handle())
    return found, root


def test_a_long_walk_can_be_stopped(visit):
    found, root = start_long_walk(visit)
    root.get_by_role("button", name="Stop").click()
    found.page.wait_for_function(IDLE, arg=root.element_handle())
    assert 1 < int(root.get_attribute("data-steps")) < 100
    assert status(root) == "Stopped."
    found.page.close()


def test_less_motion_means_one_picture_for_a_walk(visit):
    found, root = open_page(visit, first(name="diffusion"), reduced_motion="reduce")
    assert run(root) == "page"
    root.evaluate("""e => { window.seen = 0; const pen = CanvasRenderingContext2D.prototype, put = pen.putImageData;
        pen.putImageData = function (...a) { window.seen++; return put.apply(this, a); }; }""")
    root.get_by_role("button", name="Draw", exact=True).click()
    found.page.wait_for_function("e => +(e.dataset.done ?? 0) > 0", arg=root.element_handle())
    assert found.page.evaluate("() => window.seen") == 2        # x_t and the estimate, once each
    found.page.close()


@pytest.mark.parametrize("by", ["mouse", "touch", "keyboard"])
def test_a_drawn_stroke_reaches_the_model(visit, by):
    found, root = open_page(visit, first(name="vae"))
    assert run(root) == "page"
    (*_, (act, panel)) = acts_of(root, first(name="vae"))
    panel.get_by_role("button", name="Clear").click()
    pad = panel.get_by_role("application")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = int(root.get_attribute("data-done"))
    if by == "mouse":
        found.page.mouse.move(x, y - 40)
        found.page.mouse.down()
        found.page.mouse.move(x, y + 40, steps=5)
        found.page.mouse.up()
    elif by == "touch":
        found.page.touchscreen.tap(x, y)
    else:
        pad.focus()
        for key in (" ", "ArrowDown", " ", "ArrowDown", " "):
            found.page.keyboard.press(key)
    found.page.wait_for_function("([e, n]) => +e.dataset.done > n", arg=[root.element_handle(), before])
    found.page.wait_for_function(IDLE, arg=root.element_handle())
    read = live_page.as_tensors([{"value": root.evaluate(ASKED)}])[0]["pictures"][0, 0]
    ink = (read > 0).double()
    assert 1 <= ink.sum() < 200
    rows, columns = (ink.sum(1) * torch.arange(28)).sum() / ink.sum(), (ink.sum(0) * torch.arange(28)).sum() / ink.sum()
    assert abs(rows - 13.5) <= 1 and abs(columns - 13.5) <= 1       # moved to the middle, as training pictures are
    found.page.close()


def test_clearing_the_pad_asks_what_an_empty_one_is(visit):
    found, root = open_page(visit, first(name="vae"))
    assert run(root) == "page"
    (*_, (_, panel)) = acts_of(root, first(name="vae"))
    before = int(root.get_attribute("data-done"))
    panel.get_by_role("button", name="Clear").click()
    found.page.wait_for_function("([e, n]) => +e.dataset.done > n", arg=[root.element_handle(), before])
    read = live_page.as_tensors([{"value": root.evaluate(ASKED)}])[0]["pictures"][0]
    assert (read == -1).all()
    choice, chosen = panel.get_by_label("start from a test digit"), "e => e.selectedIndex"
    assert choice.evaluate(chosen) == -1                        # so that any digit can be chosen again
    choice.select_option(index=3)
    panel.get_by_role("application").press(" ")                 # a dot, and it is no longer that digit
    assert choice.evaluate(chosen) == -1
    found.page.close()


def test_an_act_chosen_while_the_model_loads_is_loaded_too(visit):
    widget = first(name="vae")
    found, root = open_page(visit, widget)
    held = []
    found.page.route(re.compile(r".*/_static/live/wasm\.\w+\.3\.js"), lambda route: held.append(route))
    root.locator(".gw-live-run").click()
    while not held:
        found.page.wait_for_timeout(50)
    root.get_by_label("Draw and encode").check()
    for route in held:
        route.continue_()
    found.page.wait_for_function("e => +(e.dataset.done ?? 0) > 0", arg=root.element_handle())
    assert root.get_attribute("data-act") == "encode" and "cloud" in root.evaluate(ASKED)
    found.page.close()


def test_a_part_that_cannot_be_loaded_leaves_the_other_one_running(visit):
    found, root = open_page(visit, first(name="vae"))
    assert run(root) == "page"
    found.page.route(re.compile(r".*/_static/live/vae-encode.*"), lambda route: route.abort())
    root.get_by_label("Draw and encode").check()
    found.page.wait_for_function("e => e.dataset.state === 'failed'", arg=root.element_handle())
    assert root.locator(".gw-live-run").is_visible()
    root.get_by_label("Decode a point").check()
    found.page.wait_for_function("e => e.dataset.state === 'page'", arg=root.element_handle())
    assert not root.locator(".gw-live-run").is_visible()
    found.page.unroute_all()
    root.get_by_label("Draw and encode").check()
    found.page.wait_for_function("e => e.dataset.act === 'encode' && e.dataset.state === 'page'",
                                 arg=root.element_handle())
    found.page.close()


def test_the_slider_goes_back_through_the_steps_with_their_figures(visit):
    found, root = open_page(visit, first(name="diffusion"))
    slider = root.get_by_label("step to look at")
    for _ in range(2):                                   # stored, then live
        slider.evaluate("e => { e.value = 3; e.dispatchEvent(new Event('input')); }")
        assert "4 of 20" in root.locator(".gw-live-numbers").inner_text()
        if root.get_attribute("data-state") == "stored":
            assert run(root) == "page"
            root.get_by_role("button", name="Draw", exact=True).click()
            found.page.wait_for_function("e => +(e.dataset.done ?? 0) > 0", arg=root.element_handle())
    found.page.close()


def test_an_example_chosen_during_a_run_is_all_that_is_shown(visit):
    found, root = start_long_walk(visit)
    root.get_by_label("example", exact=True).select_option(index=1)
    found.page.wait_for_function("e => e.dataset.preset === '1'", arg=root.element_handle())
    found.page.wait_for_timeout(300)
    assert "5 of 5" in root.locator(".gw-live-numbers").inner_text() and root.get_attribute("data-source") == "stored"
    found.page.close()


def test_editing_a_sentence_keeps_the_chosen_word(visit):
    found, root = open_page(visit, first(name="bert"))
    assert run(root) == "page"
    chosen = "e => e.querySelector('.gw-live-words [aria-pressed=true]').textContent"
    before = root.evaluate(chosen)
    root.locator("textarea").press("End")
    root.locator("textarea").press("x")
    assert root.evaluate(chosen) == before
    found.page.close()


def test_dragging_over_the_plane_decodes_the_newest_point(visit):
    found, root = open_page(visit, first(name="vae"))
    assert run(root) == "page"
    pad = root.get_by_role("application").first
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    found.page.mouse.move(box["x"] + 10, box["y"] + 10)
    found.page.mouse.down()
    for share in (0.2, 0.35, 0.5, 0.65, 0.8):
        found.page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.3 * box["height"])
    found.page.mouse.up()
    found.page.wait_for_timeout(300)
    found.page.wait_for_function(IDLE, arg=root.element_handle())
    n, reach = 19, 3.0
    z = [(2 * (0.8 * n - 0.5) / (n - 1) - 1) * reach, (2 * (n - 0.5 - 0.3 * n) / (n - 1) - 1) * reach]
    ours = live_page.python_steps("vae", "decode", {"z": z})[0]["picture"]
    theirs = live_page.as_tensors([{"value": root.evaluate(ASKED)}])[0]["picture"]
    assert live_page.difference(theirs, ours) < 0.1           # the mouse stands on a whole pixel of the screen
    found.page.close()


def test_every_file_that_a_page_names_is_there(book):
    for widget in LIVE:
        files = widget.state["files"]
        packs = [*files["runtime"].values(), files["facts"], *files["graphs"].values()]
        assert all((book / "_static" / "live" / name).exists() for pack in packs for name in pack["files"])
        assert all(graph["bytes"] <= 2.5e6 for graph in files["graphs"].values())


def test_no_file_names_a_path_of_the_machine_that_made_it(book):
    import base64
    import gzip

    for path in (book / "_static" / "live").glob("*.0.js"):
        parts = sorted(path.parent.glob(path.name[: -len("0.js")] + "*.js"), key=lambda p: int(p.suffixes[-2][1:]))
        text = "".join(json.loads(p.read_text().partition("] = ")[2].rstrip(";\n")) for p in parts)
        data = gzip.decompress(base64.b64decode(text))
        if not path.name.startswith(("wasm", "runtime")):
            assert str(built.ROOT).encode() not in data and b"site-packages" not in data
