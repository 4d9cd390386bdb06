"""Every widget of the built book, with no kernel: it moves, it says what it shows, and that is what Python computes."""

import base64
import hashlib
import re

import numpy as np
import pytest

from genai_utils.widgets import (
    AttentionExplorer,
    CodeExplorer,
    CurveExplorer,
    DilationExplorer,
    FamilyExplorer,
    FitMixture,
    GamePlayer,
    GateExplorer,
    GenerationPlayer,
    MaskedExplorer,
    NextTokenExplorer,
    PatchExplorer,
    PathExplorer,
    PictureComparer,
    ReceptiveFieldExplorer,
    ScheduleExplorer,
    film_from_state,
)
from genai_utils.widgets.explore_attention import visible
from genai_utils.widgets.explore_masked import percent, share_of
from genai_utils.widgets.explore_receptive_field import BLIND
from genai_utils.widgets.play_frames import digest
from genai_utils.widgets.play_game import BINS, OUT, field_colors, histogram
from genai_utils.widgets.sprites import decode, to_pictures, untile
from tests.browser import built

WIDGETS = [w for chapter in built.chapters() for w in built.widgets(chapter)
           if w.kind != "LiveRunner"]                   # which stand still until a click: test_live.py
PICTURE = """root => [...root.querySelectorAll('canvas')].map((c) => c.toDataURL()).join()
    + [...root.querySelectorAll('svg')].map((s) => s.outerHTML).join()"""
PIXELS = """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
    let s = '';
    for (let i = 0; i < d.length; i += 4096) s += String.fromCharCode(...d.subarray(i, i + 4096));
    return btoa(s); }"""
WATCH = f"""root => {{ const picture = {PICTURE}; window.gwSeen = new Set();
    const look = new MutationObserver(() => window.gwSeen.add(picture(root)));
    look.observe(root, {{ attributeFilter: ['data-value'] }}); }}"""
PAUSE = "root => root.querySelectorAll('button').forEach((b) => { if (b.textContent === 'Pause') b.click(); })"
STILL = ("AttentionExplorer", "CodeExplorer", "CurveExplorer", "DilationExplorer", "FamilyExplorer", "GridExplorer",
         "MaskedExplorer", "NextTokenExplorer", "PatchExplorer", "PictureComparer",
         "ReceptiveFieldExplorer", "ScheduleExplorer")  # kinds with nothing to play
DRAWN = "() => new Promise((ok) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(ok, 60))))"


@pytest.fixture(scope="module", params=WIDGETS or [None], ids=str)
def shown(request, visit):
    """(widget, its root in the page); the widgets of a chapter share one loaded page."""
    widget = request.param
    if widget is None:
        pytest.fail("no page of the built book has a widget", pytrace=False)
    found = PAGES.get(widget.page)
    if found is None:
        for old in PAGES.values():
            old.page.close()
        PAGES.clear()
        found = PAGES[widget.page] = visit(widget.page)
    root = found.page.locator(".gw").nth(widget.place)
    root.scroll_into_view_if_needed()
    return widget, root


PAGES = {}


def settle(root):
    """Wait until the page has drawn."""
    root.page.evaluate(DRAWN)


def picture(root):
    settle(root)
    return hashlib.sha256(root.evaluate(PICTURE).encode()).hexdigest()


def value(root):
    return root.get_attribute("data-value")


def ranges(root):
    return [r for r in root.locator("input[type=range]").all() if r.is_visible() and r.is_enabled()]


def slide(root, control, number):
    """Put a range input where its reader would; returns the number that the browser took."""
    control.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", number)
    settle(root)
    return float(control.input_value())


def pixels(canvas):
    """The canvas's own pixels, (H, W, 3) uint8."""
    size = canvas.evaluate("c => [c.height, c.width]")
    rgba = np.frombuffer(base64.b64decode(canvas.evaluate(PIXELS)), np.uint8).reshape(*size, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def as_rgb(x):
    return np.repeat(x[..., None], 3, -1) if x.ndim == 2 else x


def test_every_chapter_has_a_widget(book):
    assert built.chapters()
    assert [c for c in built.chapters() if not built.widgets(c)] == []


def test_widget_moves_by_keyboard(shown):
    _, root = shown
    for control in ranges(root):
        control.focus()
        seen = []
        for key in ("Home", "ArrowRight", "End"):
            root.page.keyboard.press(key)
            seen.append((picture(root), control.get_attribute("aria-valuetext"), control.input_value()))
        assert seen[0][0] != seen[2][0], f"the picture did not follow {seen}"
        assert seen[0][1] != seen[2][1], f"the value said did not follow {seen}"
        assert len({number for _, _, number in seen}) == 3, f"the arrow key did nothing: {seen}"
    assert ranges(root), "no range input to be seen"


@pytest.mark.parametrize("by", ["mouse", "touch"])
def test_widget_moves_by(shown, by):
    _, root = shown
    control = ranges(root)[0]
    seen = []
    for share in (0.1, 0.5, 0.9):
        control.scroll_into_view_if_needed()
        box = control.bounding_box()
        at = box["x"] + share * box["width"], box["y"] + box["height"] / 2
        (root.page.mouse.click if by == "mouse" else root.page.touchscreen.tap)(*at)
        seen.append((picture(root), value(root)))
    assert len({shown_picture for shown_picture, _ in seen}) == 3, seen
    assert len({shown_value for _, shown_value in seen}) > 1, seen   # two may agree: far left and far right score alike


def test_widget_names_its_controls_and_its_picture(shown):
    widget, root = shown
    for control in root.locator("input, select").all():
        assert control.evaluate("e => [...e.labels].map((l) => l.textContent.trim()).join(' ')")
    for control in ranges(root):
        assert control.get_attribute("aria-valuetext")
    named = [e.get_attribute("aria-label") or "" for e in root.locator("[role=img]").all()]
    assert any(name.startswith(widget.state["alt"]) for name in named), named


def test_focus_is_seen(shown):
    _, root = shown
    control = ranges(root)[0]
    control.focus()
    root.page.keyboard.press("ArrowRight")
    assert control.evaluate("e => e.matches(':focus-visible') && getComputedStyle(e).outlineStyle !== 'none' "
                            "&& parseFloat(getComputedStyle(e).outlineWidth) >= 2")


def test_play_plays_and_pauses(shown):
    widget, root = shown
    button = root.get_by_role("button", name=re.compile("^(Play|Climb)$"))
    if not button.count():
        still = widget.kind in STILL or widget.state.get("kind") == "memoriser"
        assert still, "a widget with frames needs a Play button"
        return
    slide(root, ranges(root)[0], 0)
    root.evaluate(WATCH)                                # the page counts: from here a short film might be missed
    button.click()
    root.page.wait_for_function("() => window.gwSeen.size >= 3", timeout=20_000)      # else it stands still
    root.evaluate(PAUSE)                                # in one go: a film may come to its end by itself
    at = picture(root)
    root.page.wait_for_timeout(400)
    assert picture(root) == at


def test_widget_is_still_when_the_reader_wants_less_motion(shown):
    _, root = shown
    root.page.emulate_media(reduced_motion="reduce")
    try:
        slide(root, ranges(root)[0], ranges(root)[0].get_attribute("min"))
        for button in root.get_by_role("button").all():
            button.click()
            root.page.wait_for_timeout(100)
            at = picture(root), value(root)             # one press, one picture: it may differ, but it does not move on
            root.page.wait_for_timeout(500)
            assert (picture(root), value(root)) == at
    finally:
        root.page.emulate_media(reduced_motion="no-preference")


def test_static_figure_gives_way_to_the_widget(shown):
    widget, root = shown
    still = root.page.locator(f"[data-gw-still='{widget.state['uid']}']")
    assert still.count() >= 1 and not still.first.is_visible() and root.is_visible()


@pytest.mark.parametrize("chapter", built.chapters())
def test_reader_without_scripts_sees_a_picture_of_every_widget(visit, chapter):
    found = visit(chapter, java_script_enabled=False)
    stills = found.page.locator(".gw-still img").all()
    seen = [(s.is_visible(), (s.bounding_box() or {}).get("width", 0) > 50, s.get_attribute("alt")) for s in stills]
    found.page.close()
    alts = [w.state["alt"] for w in built.widgets(chapter)]
    assert seen == [(True, True, alt) for alt in alts]


# ---- what is shown equals what Python computes: one function per kind of widget -----------------------------------

def check_frame_player(widget, root):
    state, canvases = widget.state, root.locator("canvas").all()
    for k, reel in enumerate(state["reels"]):
        film = film_from_state(state, reel["name"])
        assert digest(film) == reel["digest"], f"film {reel['name']!r}: the page holds other frames than were made"
        if len(state["reels"]) > 6:
            root.locator("select").select_option(index=k)
        elif len(state["reels"]) > 1:
            root.locator("input[type=radio]").nth(k).check()
        for i in (0, reel["n"] // 2, reel["n"] - 1):
            slide(root, ranges(root)[0], i)
            assert value(root) == str(i) and root.get_attribute("data-film") == reel["name"]
            assert ranges(root)[0].get_attribute("aria-valuetext") == reel["captions"][i]
            for canvas, panel in zip(canvases, film[i], strict=True):
                assert (pixels(canvas) == as_rgb(panel)).all(), f"frame {i} of {reel['name']!r} is not bit for bit"


def check_grid_explorer(widget, root):
    s = widget.state
    nx, ny = s["x"][2], s["y"][2]
    tiles = untile(decode(s["sheet"], s["grey"]), nx * ny, nx, s["height"], s["width"]).reshape(
        ny, nx, s["height"], s["width"], *([] if s["grey"] else [3]))[::-1]
    across, up = ranges(root)
    xs, ys = np.linspace(*s["x"]), np.linspace(*s["y"])
    for i, j in ((0, 0), (nx // 2, ny // 3), (nx - 1, ny - 1)):
        slide(root, across, 4 * i)
        slide(root, up, 4 * j)
        assert np.allclose([float(v) for v in value(root).split(",")], [xs[i], ys[j]], rtol=0, atol=1e-12)
        assert (pixels(root.locator("canvas").last) == as_rgb(tiles[j, i])).all()
    pad, before = root.locator(".gw-pad"), value(root)
    box = pad.locator("canvas").bounding_box()
    root.page.mouse.move(box["x"] + 0.5 / nx * box["width"], box["y"] + 0.5 / ny * box["height"])
    root.page.mouse.down()
    root.page.mouse.move(box["x"] + 1.4 / nx * box["width"], box["y"] + 1.6 / ny * box["height"], steps=4)
    root.page.mouse.up()
    settle(root)
    dragged = [float(v) for v in value(root).split(",")]
    assert before != value(root) and np.allclose(dragged, [xs[1], ys[ny - 2]], rtol=0, atol=1e-12)
    root.page.keyboard.press("ArrowRight")
    root.page.keyboard.press("ArrowDown")
    settle(root)
    assert np.allclose([float(v) for v in value(root).split(",")], [xs[2], ys[ny - 3]], rtol=0, atol=1e-12)
    assert (pixels(root.locator("canvas").last) == as_rgb(tiles[ny - 3, 2])).all()


def check_schedule_explorer(widget, root):
    mine = ScheduleExplorer(**{k: widget.state[k] for k in ("alt", "x0", "eps", "shape", "T", "seed", "size")})
    time = ranges(root)[0]
    for kind, zero_snr in (("linear", False), ("linear", True), ("cosine", True), ("cosine", False)):
        root.get_by_role("radio", name=kind).check()
        root.locator("input[type=checkbox]").set_checked(zero_snr)
        mine.kind, mine.zero_snr = kind, zero_snr
        if kind == "linear":                            # the sliders' own steps: 1e-5 * 10^(k/20), 2e-3 * 10^(k/50)
            slide(root, ranges(root)[1], 20)
            slide(root, ranges(root)[2], 50)
            mine.beta_start, mine.beta_end = 1e-4, 0.02
        else:
            mine.s = slide(root, ranges(root)[1], 0.008)
        for t in (0, mine.T // 3, mine.T - 1):
            slide(root, time, t)
            mine.at = t
            a = mine.alpha_bar[t].item()
            assert value(root) == str(t)
            assert float(root.get_attribute("data-alpha-bar")) == pytest.approx(a, rel=1e-9, abs=1e-15)
            if a > 0:
                snr = 10 * np.log10(a / (1 - a))
                assert float(root.get_attribute("data-decibel")) == pytest.approx(snr, abs=1e-9)
                assert f"{snr:.1f} dB".replace("-", "\u2212") in root.locator(".gw-text").inner_text()
            else:
                assert "no signal is left" in root.locator(".gw-text").inner_text()
            want = as_rgb(to_pictures(mine.noised()[None])[0]).astype(int)
            assert np.abs(pixels(root.locator("canvas")) - want).max() <= 1       # ties round differently


def check_fit_mixture(widget, root):
    traits = {k for k in FitMixture.class_trait_names(sync=True) if not k.startswith("_")}
    known = {k: v for k, v in widget.state.items() if k in traits - {"layout", "tabbable", "tooltip", "uid"}}
    root.get_by_role("button", name="Start again").click()
    noise = root.locator("input[name=noise]")
    for share in (0.0, 0.25, 0.5):
        assert slide(root, noise, share) == pytest.approx(share)
        mine = FitMixture(**known | {"noise": share})
        assert float(value(root)) == pytest.approx(mine.score(), abs=6e-4)


def again(cls, widget):
    """The widget of a page, made anew in Python from the page's state, with no kernel."""
    known = {k for k in cls.class_trait_names(sync=True) if k[0] != "_"} - {"exact", "layout", "tabbable", "tooltip"}
    return cls(**{k: v for k, v in widget.state.items() if k in known})


def two(number):
    """Two decimals as the page writes them: ties go up."""
    return f"{number + 1e-9:.2f}".replace("-", "\u2212")


def check_path_explorer(widget, root):
    mine = again(PathExplorer, widget)
    S, n, names = mine.steps, len(mine.names), mine.names
    panels, strips = (root.locator(f"{kind} canvas").all() for kind in (".gw-panels", ".gw-strip"))
    radios = root.locator("input[type=radio]")
    for start, end in ((0, 1), (n - 1, 0), (n - 2, n - 1), (0, 0), (n - 1, n - 1)):
        radios.nth(start).check()
        radios.nth(n + end).check()
        pictures, numbers = mine.path(start, end)
        for k in (0, S // 2, S - 1):
            slide(root, ranges(root)[0], 4 * k)
            where = f"{two(k / (S - 1))} of the way from {names[start]} to {names[end]}"
            text, said = root.locator(".gw-text").inner_text(), ranges(root)[0].get_attribute("aria-valuetext")
            assert float(value(root)) == pytest.approx(k / (S - 1), abs=1e-12)
            assert said == (where if start != end else f"{names[start]} at both ends")
            assert ("the same picture" in text) == (start == end)
            for canvas, way in zip(panels, pictures, strict=True):
                assert (pixels(canvas) == as_rgb(way[k])).all(), f"step {k} from {start} to {end} is not bit for bit"
            for way, values in numbers.items():
                assert f"{way} {two(values[k])}" in text
        for canvas, way in zip(strips, pictures, strict=True):
            assert (pixels(canvas) == as_rgb(np.concatenate(list(way), axis=1))).all()
    box = root.locator(".gw-strip canvas").first.bounding_box()
    root.page.mouse.click(box["x"] + 2.5 / S * box["width"], box["y"] + box["height"] / 2)
    settle(root)
    assert float(value(root)) == pytest.approx(2 / (S - 1), abs=1e-12)


def check_code_explorer(widget, root):
    mine = again(CodeExplorer, widget)
    N, h, w = np.shape(mine.codes)
    palette, panels = [None, *mine.replacements], root.locator(".gw-side canvas").all()
    board, paints = root.locator(".gw-board svg"), root.locator("fieldset").last.locator("input")

    def agrees():
        settle(root)
        before, after = mine.pictures()
        paint = "" if mine.paint is None else mine.paint
        assert value(root) == f"{mine.image},{mine.place},{paint}"
        change = np.abs(after.astype(int) - before)
        change = (change if mine.grey else change.max(-1)).astype(np.uint8)
        for canvas, picture in zip(panels, (before, after, change), strict=True):
            assert (pixels(canvas) == as_rgb(picture)).all(), f"{value(root)} is not bit for bit"
        assert root.locator(".gw-side .gw-text").inner_text() == mine.sentence()
        numbers = board.locator("text").all_text_contents()
        fills = board.locator("rect").evaluate_all("all => all.map((e) => e.getAttribute('fill'))")[: h * w]
        assert numbers == [str(code) for code in mine.grid().flat]
        assert fills == [mine.colors[code] for code in numbers]
        assert ranges(root)[0].input_value() == str(mine.place)

    for image in range(N):
        if N > 1:
            root.locator("fieldset").first.locator("input").nth(image).check()
        for place, k in ((0, 1), (h * w // 2, len(palette) - 1), (h * w - 1, len(palette) // 2)):
            paints.nth(k).check()
            slide(root, ranges(root)[0], place)
            mine.image, mine.place, mine.paint = image, place, palette[k]
            agrees()
    box = board.bounding_box()
    at = lambda row, column: (box["x"] + (column + 0.5) / w * box["width"], box["y"] + (row + 0.5) / h * box["height"])
    root.page.mouse.move(*at(0, w - 1))                 # drag to the lower left, then go by keyboard
    root.page.mouse.down()
    root.page.mouse.move(*at(h - 1, 0), steps=4)
    root.page.mouse.up()
    mine.place = (h - 1) * w
    agrees()
    for key, place in (("ArrowUp", (h - 2) * w), ("ArrowRight", (h - 2) * w + 1), ("ArrowDown", (h - 1) * w + 1),
                       ("ArrowDown", (h - 1) * w + 1), ("ArrowLeft", (h - 1) * w), ("ArrowLeft", (h - 1) * w)):
        root.page.keyboard.press(key)
        mine.place = place
        agrees()
    root.get_by_role("button", name="Reset").click()
    mine.paint = None
    agrees()
    assert not root.get_by_role("button", name="Keep").is_visible()                       # there is no kernel


def choose(root, legend, k):
    """Take the k-th of a choice: radio buttons, or a select when they are many."""
    group = root.get_by_role("group", name=legend, exact=True)
    if group.count():
        group.locator("input").nth(k).check()
    else:
        root.get_by_label(legend, exact=True).select_option(index=k)


def check_gate_explorer(widget, root):
    mine = again(GateExplorer, widget)
    Q, T, U = len(mine.names), len(mine.text), len(mine.units)
    letters = root.locator(".gw-word span")

    def agrees():
        settle(root)
        assert value(root) == f"{mine.quantity},{mine.unit},{mine.at}"
        assert float(root.get_attribute("data-number")) == mine.value()
        assert root.locator(".gw-text").first.inner_text() == mine.sentence()
        assert (pixels(root.locator(".gw-pad canvas")) == mine.pixels()).all()
        css = letters.evaluate_all("all => all.map((e) => [e.style.backgroundColor, e.style.color])")
        colors = lambda r, g, b, ink: [f"rgb({r}, {g}, {b})", f"rgb({ink}, {ink}, {ink})"]
        assert css == [colors(*tint) for tint in mine.colors()[mine.grid()[:, mine.unit]].tolist()]
        here = letters.evaluate_all("all => all.flatMap((e, i) => e.classList.contains('gw-here') ? [i] : [])")
        assert here == [mine.at]
        said = ranges(root)[0].get_attribute("aria-valuetext")
        assert said.endswith(f", {mine.at + 1} of {T}: {mine.sentence().split()[-1]}")

    for mine.quantity in range(Q):
        if Q > 1:
            choose(root, "quantity", mine.quantity)
        for at, unit in ((0, U - 1), (T // 2, 0), (T - 1, U // 2)):
            mine.at, mine.unit = at, unit
            slide(root, ranges(root)[0], at)
            if U > 6:
                slide(root, ranges(root)[1], unit)
            elif U > 1:
                choose(root, "unit", unit)
            agrees()
    letters.nth(1).click()
    mine.at = 1
    agrees()
    box = root.locator(".gw-pad canvas").bounding_box()
    at = lambda column, row: (box["x"] + (column + 0.5) / T * box["width"], box["y"] + (row + 0.5) / U * box["height"])
    root.page.mouse.move(*at(T - 1, 0))                 # drag to the lower left
    root.page.mouse.down()
    root.page.mouse.move(*at(1, U - 1), steps=4)
    root.page.mouse.up()
    mine.at, mine.unit = 1, U - 1
    agrees()


def share(v, axis):
    """Where a number lies on an axis of a chart, 0 at its lowest and 1 at its highest."""
    v, lo, hi = np.log([v, axis["lo"], axis["hi"]]) if axis["log"] else (v, axis["lo"], axis["hi"])
    return (v - lo) / (hi - lo)


def check_curve_explorer(widget, root):
    mine = again(CurveExplorer, widget)
    sizes, X = [len(values) for values in mine.choices], len(mine.x)
    cursor, chart = root.get_by_label(mine.x_name, exact=True), root.locator(".gw-chart > svg > svg")

    def agrees():
        settle(root)
        assert value(root) == ",".join(map(str, [*mine.setting, mine.at]))
        assert root.locator(".gw-text").first.text_content() == mine.sentence()
        assert cursor.get_attribute("aria-valuetext").endswith(mine.sentence().split(": ", 1)[1])
        left, top, width, height = (float(chart.get_attribute(k)) for k in ("x", "y", "width", "height"))
        across = lambda x: left + share(x, mine.x_axis) * width
        down = lambda y: top + 2 + (1 - share(y, mine.y_axis)) * (height - 4)
        drawn = chart.locator(".gw-line:not(.gw-grey)").evaluate_all("all => all.map((e) => e.getAttribute('d'))")
        for d, heights in zip(drawn, mine.shown()[0], strict=True):
            points = [tuple(map(float, p)) for p in re.findall(r"[ML](\S+?) ([^MLh]+)", d)]
            there = [(x, y) for x, y in zip(mine.x, heights) if not np.isnan(y)]
            assert len(points) == len(there)
            for point, (x, y) in zip(points, there):
                if 0 <= share(y, mine.y_axis) <= 1:
                    assert point == pytest.approx((across(x), down(y)), abs=0.06)

    for setting in {tuple(0 for _ in sizes), tuple(n // 2 for n in sizes), tuple(n - 1 for n in sizes)}:
        for name, numeric, n, i in zip(mine.controls, mine.numeric, sizes, setting):
            if numeric and n > 2:
                slide(root, root.get_by_label(name, exact=True), i)
            else:
                choose(root, name, i)
        mine.setting = list(setting)
        for mine.at in (0, X // 2, X - 1):
            slide(root, cursor, mine.at)
            agrees()
    box, view = root.locator(".gw-chart").bounding_box(), root.locator(".gw-chart > svg").get_attribute("viewBox")
    left, width = (float(chart.get_attribute(k)) for k in ("x", "width"))
    second = (left + share(mine.x[1], mine.x_axis) * width) * box["width"] / float(view.split()[2])
    root.page.mouse.click(box["x"] + second, box["y"] + box["height"] / 2)
    mine.at = 1
    agrees()


def check_receptive_field_explorer(widget, root):
    mine = again(ReceptiveFieldExplorer, widget)
    n, names = mine.side, mine.names
    pixel, layers = ranges(root)
    board = root.locator(".gw-board svg")

    def agrees():
        settle(root)
        assert value(root) == f"{mine.stack},{mine.depth},{mine.place}"
        shown = board.locator("rect").evaluate_all("all => all.map((e) => e.getAttribute('class'))")[: n * n]
        assert shown == [f"gw-t{tone}" for tone in mine.tones().ravel()]
        assert root.locator(".gw-text").inner_text() == mine.sentence()
        hatched = board.locator(".gw-hatch").get_attribute("d") or ""
        assert hatched.count("M") == 2 * (mine.tones() == BLIND).sum()

    D = mine.layers
    for stack in range(len(names)):
        mine.stack = stack
        if len(names) > 1:
            root.get_by_role("radio", name=names[mine.stack], exact=True).check()
        for depth, place in ((1, 0), (D // 2, n * n // 2 + n // 2), (D, n * n - 1), (D, n * (n - 1)), (D, n * n // 3)):
            mine.depth, mine.place = depth, place
            slide(root, layers, depth)
            slide(root, pixel, place)
            agrees()
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    at = lambda row, column: (box["x"] + (column + 0.5) / n * box["width"], box["y"] + (row + 0.5) / n * box["height"])
    root.page.mouse.move(*at(0, n - 1))
    root.page.mouse.down()
    root.page.mouse.move(*at(n - 1, 1), steps=4)
    root.page.mouse.up()
    mine.place = (n - 1) * n + 1
    agrees()
    for key, step in (("ArrowUp", -n), ("ArrowRight", 1), ("ArrowDown", n), ("ArrowDown", 0), ("ArrowLeft", -1)):
        root.page.keyboard.press(key)
        mine.place += step
        agrees()


def check_dilation_explorer(widget, root):
    mine = again(DilationExplorer, widget)
    output, layers = ranges(root)
    board = root.locator(".gw-tree svg")
    for design, dilations in enumerate(mine.designs):
        mine.design = design
        if len(mine.names) > 1:
            root.get_by_role("radio", name=mine.names[mine.design], exact=True).check()
            settle(root)
            assert value(root).split(",")[:2] == [str(mine.design), str(len(dilations))]              # all its layers
        L = len(dilations)
        for n_layers, position in ((1, 0), (2, mine.steps // 2), (L, mine.steps - 1), (L, mine.steps // 3)):
            mine.layers, mine.position = n_layers, position
            slide(root, layers, n_layers)
            slide(root, output, position)
            assert value(root) == f"{mine.design},{mine.layers},{mine.position}"
            assert root.locator(".gw-text").last.inner_text() == mine.sentence()
            lit = board.locator(".gw-lit, .gw-out").evaluate_all("all => all.map((e) => e.dataset.at)")
            rows = mine.lit()[::-1]                                                       # inputs first
            assert sorted(lit) == sorted(f"{k},{p}" for k, row in enumerate(rows) for p in row)
            assert board.locator(".gw-out").get_attribute("data-at") == f"{mine.layers},{mine.position}"
            strokes = board.locator(".gw-lines").get_attribute("d")
            assert strokes.count("M") == 2 * sum(len(row) for row in rows[1:])
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    width = 26 + 10 * mine.steps + 2
    root.page.mouse.click(box["x"] + (26 + 10 * 3.5) / width * box["width"], box["y"] + box["height"] / 2)
    settle(root)
    assert value(root).endswith(",3")


def check_family_explorer(widget, root):
    mine = again(FamilyExplorer, widget)
    walk, tables = root.get_by_label("family", exact=True), root.locator("table")
    frame, axes = root.locator(".gw-frame"), {"x": "horizontal axis", "y": "vertical axis"}
    keys = [m["key"] for m in mine.measures]
    CELLS = "rows => rows.map((r) => [...r.cells].map((c) => c.textContent))"
    BOXES = "all => all.map((e) => e.getBoundingClientRect()).map((b) => [b.left, b.top, b.right, b.bottom])"
    COLORS = "(all, what) => all.map((e) => getComputedStyle(e)[what].match(/[0-9.]+/g).slice(0, 3).map(Number))"

    def light(color):                                   # relative luminance, as WCAG defines it
        c = np.array(color) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    def can_be_read():                                  # names in their groups' colours, in the present theme
        settle(root)
        (paper,), groups = root.evaluate_all(COLORS, "backgroundColor"), {f["name"]: f["group"] for f in mine.families}
        ink, paper = root.locator(".gw-name").evaluate_all(COLORS, "fill"), light(paper)
        for color in ink:
            a, b = sorted((light(color), paper))
            assert (b + 0.05) / (a + 0.05) >= 4.5, f"{color} cannot be read"
        assert len(set(map(tuple, ink))) == len({groups[name] for name in mine.points()})

    def numbers(d):
        return [float(v) for v in re.findall(r"-?[\d.]+", d)]

    def agrees():
        settle(root)
        (mx, my), members, points = mine.chosen(), mine.members(), mine.points()
        assert value(root) == f"{mine.x},{mine.y},{mine.picked},{str(mine.front).lower()}"
        assert root.get_attribute("data-front") == ",".join(members)
        said = " ".join(filter(None, root.locator(".gw-text").all_text_contents()[:4]))
        assert said == mine.sentence() and walk.get_attribute("aria-valuetext") == mine.read()
        assert int(walk.input_value()) == mine.order().index(mine.picked)
        named = root.locator("[role=img]").get_attribute("aria-label")
        assert named == f"{mine.alt} Now: {mine.axes_words()} {mine.sentence()}"
        assert tables.nth(0).locator("tbody tr").evaluate_all(CELLS) == mine.rows()
        assert tables.nth(1).locator("tbody tr").evaluate_all(CELLS) == mine.everything()
        left, top, width, height = (float(frame.get_attribute(k)) for k in ("x", "y", "width", "height"))
        across = lambda v: left + share(v, mx["axis"]) * width
        down = lambda v: top + (1 - share(v, my["axis"])) * height
        drawn = root.locator(".gw-point").all()
        assert [e.get_attribute("data-name") for e in drawn] == list(points)     # who lacks a measure is not there
        cells = {f["name"]: f["cells"] for f in mine.families}
        for e, (name, (u, v)) in zip(drawn, points.items(), strict=True):
            mark = e.locator(".gw-mark")
            assert numbers(mark.get_attribute("transform")) == pytest.approx([across(u), down(v)], abs=0.01)
            (_, a, b), (_, c, d) = (cells[name][key]["numbers"] for key in (mine.x, mine.y))
            bars = [across(a), down(v), across(b), across(u), down(c), down(d)]
            assert numbers(e.locator(".gw-bar").get_attribute("d")) == pytest.approx(bars, abs=0.01)
            full = "gw-full" in mark.get_attribute("class")
            assert full == (not mine.front or bool(mine.against_front()) or name in members)
            assert e.locator(".gw-ring").count() == (name == mine.picked)
        line = [numbers(e.get_attribute("d")) for e in root.locator("path.gw-front").all()]
        us, vs = mine.steps()
        want = [w for u, v in zip(us, vs) for w in (across(u), down(v))]
        assert line == ([pytest.approx(want, abs=0.01)] if want and mine.front else [])
        want = [[across(mx["mark"]["number"]), top, top + height]] if mx["mark"] else []
        want += [[left, down(my["mark"]["number"]), left + width]] if my["mark"] else []
        held = [numbers(e.get_attribute("d")) for e in root.locator(".gw-chart .gw-held").all()]
        assert held == [pytest.approx(line, abs=0.01) for line in want]
        assert root.locator(".gw-held-name").all_text_contents() == ["mark"] * len(want)
        assert root.locator(".gw-legend").get_by_text("mark: held-out data").count() == bool(want)
        (a, b, c, d), *symbols = root.locator(".gw-chart > svg, .gw-point .gw-mark, .gw-ring").evaluate_all(BOXES)
        assert all(a < e and b < f and g < c and h < d for e, f, g, h in symbols), "a symbol is cut"
        names = root.locator(".gw-name")
        titles = mine.titles(points)
        places = [str([f["name"] for f in mine.families].index(name) + 1) for name in points]
        assert names.all_text_contents() in (titles, places)
        if names.all_text_contents() == titles:         # then they stand clear of each other
            boxes = names.evaluate_all(BOXES)
            for i, (a, b, c, d) in enumerate(boxes):
                assert not any(min(c, g) - max(a, e) > 1 and min(d, h) - max(b, f) > 3 for e, f, g, h in boxes[:i])

    def take(way, key):
        root.get_by_label(axes[way], exact=True).select_option(index=keys.index(key))

    begin, lacked = (mine.x, mine.y), [k for k in keys if any(k not in f["cells"] for f in mine.families)]
    endless = [m["key"] for m in mine.measures if m["better"] == "none"]
    kinds = {k: {f["cells"][k]["kind"] for f in mine.families if k in f["cells"]} for k in keys}
    mixed, marked = [k for k in keys if len(kinds[k]) > 1], [m["key"] for m in mine.measures if m["mark"]]
    others = [k for k in (*lacked[:1], *endless[:1], *mixed[:1], *marked[:1], keys[-1], keys[0]) if k not in begin]
    for x in (begin[0], *dict.fromkeys(others)):
        take("x", x)
        mine.x = x
        for place in (0, len(mine.families) // 2, len(mine.families) - 1):
            slide(root, walk, place)
            mine.picked = mine.order()[place]
            agrees()
    take("x", mine.y)                                   # the other axis' measure: they change places
    with mine.hold_trait_notifications():
        mine.x, mine.y = mine.y, mine.x
    agrees()
    take("y", begin[0] if begin[0] not in (mine.x, mine.y) else next(k for k in keys if k not in (mine.x, mine.y)))
    mine.y = root.get_attribute("data-value").split(",")[1]
    theme = root.evaluate("() => document.documentElement.dataset.theme")
    for other in ("dark", "light"):
        root.evaluate("(_, t) => { document.documentElement.dataset.theme = t; }", other)
        can_be_read()
    root.evaluate("(_, t) => { if (t) document.documentElement.dataset.theme = t; }", theme)
    root.get_by_label("show the front").uncheck()
    mine.front = False
    agrees()
    root.get_by_label("show the front").check()
    mine.front = True
    chart = root.locator(".gw-chart")
    chart.scroll_into_view_if_needed()
    box, view = chart.bounding_box(), float(chart.locator("> svg").get_attribute("viewBox").split()[2])
    dots = [numbers(e.get_attribute("transform")) for e in root.locator(".gw-point .gw-mark").all()]
    alone = max(range(len(dots)), key=lambda i: min(np.hypot(dots[i][0] - u, dots[i][1] - v)
                                                   for j, (u, v) in enumerate(dots) if j != i))
    for act in (root.page.mouse.move, root.page.touchscreen.tap):       # hover, then tap, on the loneliest point
        slide(root, walk, 0 if mine.order()[0] != list(mine.points())[alone] else 1)
        act(*(box[k] + at * box["width"] / view for k, at in zip("xy", dots[alone])))
        mine.picked = list(mine.points())[alone]
        agrees()
    walk.focus()
    root.page.keyboard.press("Home")
    for key, step in (("ArrowRight", 1), ("ArrowRight", 1), ("ArrowLeft", -1), ("End", 99)):
        before = 0 if key == "Home" else int(walk.input_value())
        root.page.keyboard.press(key)
        mine.picked = mine.order()[min(before + step, len(mine.families) - 1)]
        agrees()


def check_generation_player(widget, root):
    mine = again(GenerationPlayer, widget)
    n, V = int(np.prod(mine.shape)), len(mine.table)
    for k, run in enumerate(mine.runs):
        mine.run = k
        if len(mine.runs) > 6:
            root.locator("select").select_option(index=mine.run)
        elif len(mine.runs) > 1:
            root.locator("input[type=radio]").nth(mine.run).check()
        for index in (0, 1, n // 2, n - 1, n):
            mine.index = index
            slide(root, ranges(root)[0], mine.index)
            assert value(root) == f"{mine.run},{mine.index}"
            assert root.locator(".gw-text").inner_text() == mine.sentence()
            if len(mine.shape) == 2:
                assert (pixels(root.locator("canvas")) == mine.pixels()).all(), f"step {mine.index} is not bit for bit"
            else:
                points = (root.locator("polyline").get_attribute("points") or "").split()
                wave, filled = mine.wave(), np.flatnonzero(~np.isnan(mine.wave()))
                assert [p.split(",")[0] for p in points] == [str(i) for i in filled]
                assert np.allclose([-float(p.split(",")[1]) for p in points], wave[filled], rtol=0, atol=1e-9)
            tall = root.locator(".gw-next rect").evaluate_all("all => all.map((e) => +e.getAttribute('height'))")
            hit = root.locator(".gw-next rect").evaluate_all("all => all.map((e) => e.classList.contains('gw-hit'))")
            if mine.index < n:
                assert np.allclose(tall, mine.bars()[mine.index] / 255 * 150, rtol=0, atol=0.006)
                assert hit.index(True) == int(mine.codes()[mine.index]) * mine.bins // V and sum(hit) == 1
                assert f"{run['peaks'][mine.index]:.3f}" in root.locator(".gw-next").text_content()
            else:
                assert not any(tall) and not any(hit)


def check_attention_explorer(widget, root):
    mine = again(AttentionExplorer, widget)
    L, H, T, S = (len(names) for names in (mine.layers, mine.heads, mine.queries, mine.sources))
    texts = [root.locator(".gw-tokens").nth(k).locator("span:not(.gw-which)") for k in (0, 0 if mine.alone else 1)]
    asked, looked = texts

    def agrees():
        settle(root)
        assert value(root) == f"{mine.layer},{mine.head},{mine.at}"
        assert root.locator(".gw-text").first.text_content() == mine.sentence()
        assert (pixels(root.locator(".gw-pad canvas")) == mine.pixels()).all()
        css = looked.evaluate_all("all => all.map((e) => [e.style.backgroundColor, e.style.color])")
        colors = lambda r, g, b, ink: [f"rgb({r}, {g}, {b})", f"rgb({ink}, {ink}, {ink})"]
        assert css == [colors(*tint) for tint in mine.colors()[mine.grid()[mine.at]].tolist()]
        here = asked.evaluate_all("all => all.flatMap((e, i) => e.classList.contains('gw-here') ? [i] : [])")
        assert here == [mine.at]
        told = [pair.split(":") for pair in root.get_attribute("data-told").split(",") if pair]
        assert [(int(j), float(w)) for j, w in told] == [(j, mine.shares()[j]) for j in mine.largest()]
        said = ranges(root)[0].get_attribute("aria-valuetext")
        assert said.endswith(f", {mine.at + 1} of {T}: {mine.sentence().split(') looks at ', 1)[1]}")
        frame = root.locator(".gw-pad svg rect").first
        assert float(frame.get_attribute("y").rstrip("%")) == pytest.approx(100 * mine.at / T)

    assert asked.all_text_contents() == [visible(token) for token in mine.queries]
    assert looked.all_text_contents() == [visible(token) for token in mine.sources]
    for layer, head, at in ((0, H - 1, 0), (L // 2, 0, T // 2), (L - 1, H // 2, T - 1), (0, 0, T // 3)):
        mine.layer, mine.head, mine.at = layer, head, at
        if L > 1:
            choose(root, "layer", layer)
        if H > 1:
            choose(root, "head", head)
        slide(root, ranges(root)[0], at)
        agrees()
    asked.nth(1).click()
    mine.at = 1
    agrees()
    board = root.locator(".gw-pad canvas")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    root.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + (T - 1.5) / T * box["height"])
    mine.at = T - 2
    agrees()


def check_next_token_explorer(widget, root):
    mine = again(NextTokenExplorer, widget)
    V, rows = len(mine.pieces), root.locator(".gw-token")

    def agrees():
        settle(root)
        assert [float(v) for v in value(root).split(",")] == [mine.prompt, mine.temperature, mine.top_k, mine.top_p]
        kept, held, entropy = mine.figures()
        seen = [float(v) for v in root.get_attribute("data-figures").split(",")]
        assert seen[0] == kept and seen[1:] == pytest.approx([held, entropy], rel=1e-9, abs=1e-12)
        assert root.locator(".gw-text").first.text_content() == mine.sentence()
        p, shown = mine.probabilities(), mine.likeliest()
        tall = rows.locator(".gw-bar").evaluate_all("all => all.map((e) => +e.getAttribute('width'))")
        assert tall == pytest.approx([100 * p[k].item() for k in shown], rel=1e-9, abs=1e-12)
        assert rows.locator(".gw-piece").all_text_contents() == [visible(mine.pieces[k]) for k in shown]
        numbers = rows.locator(".gw-share").all_text_contents()
        assert numbers == [f"{two(100 * p[k].item())} %" if p[k] > 0 else "cut off" for k in shown]
        assert root.get_attribute("data-place") == ",".join(map(str, mine.place()))
        assert root.locator(".gw-written .gw-text").text_content().startswith(f"{mine.origin()} (the nearest of ")
        assert root.locator(".gw-story").text_content() == mine.prompts[mine.prompt] + mine.continuation()
        said = [r.get_attribute("aria-valuetext") for r in ranges(root)]
        assert len(said) == 3 and all(text.endswith(f": {mine.sentence()}") for text in said)

    temperature, top_k, top_p = (root.get_by_label(name, exact=True) for name in ("temperature", "top-k", "top-p"))
    last = len(mine.counts) - 1
    for prompt in range(len(mine.prompts)):
        if len(mine.prompts) > 1:
            choose(root, "prompt", prompt)
        mine.prompt = prompt
        for a, k, p in ((4, last, 20), (20, last, 18), (40, last, 20), (16, min(4, last), 20), (30, min(8, last), 10)):
            mine.temperature, mine.top_k, mine.top_p = a / 20, mine.counts[k], p / 20
            slide(root, temperature, a)
            slide(root, top_k, k)
            slide(root, top_p, p)
            agrees()
    root.get_by_role("button", name="Reset").click()
    mine.temperature, mine.top_k, mine.top_p = 1, V, 1
    agrees()


def check_masked_explorer(widget, root):
    mine = again(MaskedExplorer, widget)
    page, rows = root.locator(".gw-sentence > span"), root.locator(".gw-guess")
    ROW = """all => all.map((e) => getComputedStyle(e).visibility === 'hidden' ? null : [
        ...[...e.querySelectorAll('span')].map((s) => s.textContent),
        +e.querySelector('rect').getAttribute('width')])"""

    def agrees():
        settle(root)
        assert value(root) == f"{mine.sentence},{mine.at}"
        assert root.get_attribute("data-truths") == ",".join(map(str, mine.truths()))
        assert root.locator(".gw-text").all_inner_texts() == [mine.told(), mine.means()]
        assert ranges(root)[0].get_attribute("aria-valuetext").endswith(mine.told().split("Its surprisal: ")[1])
        assert page.all_text_contents() == mine.words
        hidden = page.evaluate_all("all => all.map((e) => getComputedStyle(e).color === 'rgba(0, 0, 0, 0)')")
        assert [i for i, unseen in enumerate(hidden) if unseen] == [mine.at]
        truth, want = mine.words[mine.at], []
        for found, level in zip(mine.guesses(), mine.truths()):
            missed = None if truth in [word for word, _ in found] else (truth, share_of(level))
            for pair in [*found, missed]:
                mark = "\N{CHECK MARK} " * (pair is not None and pair[0] == truth)
                want.append(pair and [f"{mark}{pair[0]}", percent(pair[1]), pytest.approx(100 * pair[1], rel=1e-9)])
        assert rows.evaluate_all(ROW) == want

    for k, words in enumerate(mine.sentences):
        if len(mine.sentences) > 1:
            choose(root, "sentence", k)
        mine.sentence = k
        if k > 0:
            agrees()                                    # a shorter sentence: the place stays within it
        for mine.at in (0, len(words) // 2, len(words) - 1):
            slide(root, ranges(root)[0], mine.at)
            agrees()
    page.nth(1).click()
    mine.at = 1
    agrees()


def check_patch_explorer(widget, root):
    mine = again(PatchExplorer, widget)
    N, L, h, w = len(mine.names), mine.layers, mine.rows, mine.columns
    board, films = root.locator(".gw-board"), root.locator(".gw-small")
    RING = "all => all.map((e) => ['visibility', 'x', 'y'].map((k) => e.getAttribute(k)))"

    def agrees():
        settle(root)
        assert value(root) == f"{mine.image},{mine.layer},{mine.at}"
        told = [pair.split(":") for pair in root.get_attribute("data-told").split(",") if pair]
        assert [(int(j), float(share)) for j, share in told] == [(j, mine.shares()[j]) for j in mine.largest()]
        assert root.locator(".gw-text").inner_text() == mine.sentence()
        assert ranges(root)[0].get_attribute("aria-valuetext").endswith(mine.sentence().split(" looks at ")[1])
        assert (pixels(board.locator("canvas")) == as_rgb(mine.shown())).all()
        assert (pixels(root.locator(".gw-looks .gw-pad canvas")) == mine.pixels()).all()
        for k in range(L if L > 1 else 0):              # the small ones: brighter where there is more heat
            small = pixels(films.nth(k).locator("canvas")).reshape(-1, 3).astype(int).sum(1)
            heat = mine.heat(k)[1:]
            assert small.size == heat.size and (np.diff(small[np.argsort(heat, kind="stable")]) >= 0).all()
        assert films.evaluate_all("all => all.map((e) => e.classList.contains('gw-here'))").index(True) == mine.layer
        row, column = divmod(mine.at - 1, w)
        for seen, x, y in board.locator("rect").evaluate_all(RING):
            assert seen == ("visible" if mine.at else "hidden")
            assert not mine.at or [float(x[:-1]), float(y[:-1])] == pytest.approx([100 * column / w, 100 * row / h])

    for image in range(N):
        if N > 1:
            choose(root, "picture", image)
        for layer, token in ((0, 0), (L // 2, h * w // 2), (L - 1, h * w)):
            slide(root, ranges(root)[0], token)
            if L > 2:
                slide(root, ranges(root)[1], layer)
            elif L > 1:
                choose(root, "layer", layer)
            mine.image, mine.layer, mine.at = image, layer, token
            agrees()
    board.scroll_into_view_if_needed()
    box = board.locator("canvas").bounding_box()
    at = lambda row, column: (box["x"] + (column + 0.5) / w * box["width"], box["y"] + (row + 0.5) / h * box["height"])
    root.page.mouse.move(*at(h - 1, w - 1))             # drag to the upper left, then go by keyboard
    root.page.mouse.down()
    root.page.mouse.move(*at(0, 0), steps=4)
    root.page.mouse.up()
    mine.at = 1
    agrees()
    for key, mine.at in (("ArrowRight", 2), ("ArrowDown", 2 + w), ("ArrowLeft", 1 + w), ("ArrowLeft", 1 + w),
                         ("ArrowUp", 1), ("ArrowUp", 0), ("ArrowUp", 0), ("ArrowDown", 1)):
        root.page.keyboard.press(key)
        agrees()
    board.locator(".gw-class").click()
    mine.at = 0
    agrees()
    if L > 1:
        films.first.click()
        mine.layer = 0
        agrees()


def numbers_of(root, name):
    """All numbers of a path of the board, in the order in which they stand there."""
    path = root.locator(f".gw-board path.gw-{name}").get_attribute("d") or ""
    return [float(v) for v in re.findall(r"-?[\d.]+", path)]


def check_game_player(widget, root):
    mine = again(GamePlayer, widget)
    lo, hi = mine.extent
    for film in range(len(mine.reels)):
        for index in sorted({0, mine.frames // 2, mine.frames - 1}):
            slide(root, ranges(root)[0], index)
            if len(mine.reels) > 1:                     # the frame stays where it is
                choose(root, mine.choice, film)
            settle(root)
            mine.film, mine.index = film, index
            assert value(root) == f"{film},{index}" and root.locator(".gw-text").text_content() == mine.sentence()
            data, fake = ((x - lo) / (hi - lo) * 400 for x in mine.points())
            if mine.dims == 2:
                dark = root.get_attribute("data-theme") == "dark"
                want = field_colors(mine.levels()[::-1], dark)
                assert (pixels(root.locator(".gw-board canvas")) == want).all(), "the field is not level for level"
                drawn = np.array(numbers_of(root, "fake")).reshape(-1, 3)[:, :2]
                shown = fake[~np.isnan(fake[:, 0])]
                assert np.allclose(drawn, np.stack([shown[:, 0], 400 - shown[:, 1]], 1), rtol=0, atol=0.051)
                assert len(numbers_of(root, "real")) == 16 * (~np.isnan(data[:, 0])).sum()
                if mine.push:
                    push = mine.pushes() / (hi - lo) * [400, -400]
                    start = np.stack([fake[: len(push), 0], 400 - fake[: len(push), 1]], 1)
                    long = (np.linalg.norm(push, axis=1) > 0.8) & ~np.isnan(start[:, 0])
                    drawn = np.array(numbers_of(root, "push")).reshape(-1, 10)[:, :4]
                    assert np.allclose(drawn, np.hstack([start, start + push])[long], rtol=0, atol=0.051)
            else:
                drawn = np.array(numbers_of(root, "line")).reshape(-1, 2)
                assert np.allclose(drawn[:, 1], 200 - mine.levels() / 255 * 192, rtol=0, atol=0.051)
                stored = np.where(np.isnan(fake), OUT, np.rint(fake / 400 * 65534))
                tall = np.array(numbers_of(root, "bars")[2:-1]).reshape(BINS, 2)[:, 0]
                want = 200 - np.minimum(1, histogram(stored) / mine.peak) * 192
                assert np.allclose(tall, want, rtol=0, atol=0.051)
            for chart, dot in zip(mine.charts, root.locator(".gw-plots circle").all(), strict=True):
                height = mine.reels[film]["curves"].get(chart["name"], [None] * mine.frames)[index]
                assert dot.get_attribute("visibility") == ("hidden" if height is None else "visible")
                if height is not None:
                    want = 84 - (height - chart["lo"]) / (chart["hi"] - chart["lo"]) * 76
                    assert abs(float(dot.get_attribute("cy")) - want) <= 0.051


def check_picture_comparer(widget, root):
    mine = again(PictureComparer, widget)
    stored, K = mine.pictures(), len(mine.names)
    second, first, *third = root.locator("canvas").all()
    for pair in sorted({0, K // 2, K - 1}):
        if K > 1:
            choose(root, mine.choice, pair)
        for share in (0, 30, 100):
            slide(root, ranges(root)[0], share)
            mine.pair, mine.share = pair, share
            assert value(root) == f"{pair},{share}"
            assert ranges(root)[0].get_attribute("aria-valuetext") == mine.sentence()
            for canvas, x in zip((first, second, *third), stored[pair], strict=True):
                assert (pixels(canvas) == as_rgb(x)).all(), f"pair {pair} is not bit for bit"
            right = first.evaluate("c => +getComputedStyle(c).clipPath.match(/inset\\(0(?:px)? ([\\d.]+)/)[1]")
            assert right == 100 - share, "the first picture is cut off elsewhere"
    pad = root.locator(".gw-pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    root.page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    root.page.mouse.down()
    root.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2, steps=4)
    root.page.mouse.up()
    settle(root)
    assert abs(int(value(root).split(",")[1]) - 25) <= 1


CHECKS = {"AttentionExplorer": check_attention_explorer, "NextTokenExplorer": check_next_token_explorer,
          "CodeExplorer": check_code_explorer, "CurveExplorer": check_curve_explorer,
          "DilationExplorer": check_dilation_explorer,
    "FamilyExplorer": check_family_explorer, "GateExplorer": check_gate_explorer,
          "FitMixture": check_fit_mixture, "FramePlayer": check_frame_player,
          "GamePlayer": check_game_player, "PictureComparer": check_picture_comparer,
          "GenerationPlayer": check_generation_player, "MaskedExplorer": check_masked_explorer,
          "PatchExplorer": check_patch_explorer, "ReceptiveFieldExplorer": check_receptive_field_explorer,
          "GridExplorer": check_grid_explorer, "PathExplorer": check_path_explorer,
          "ScheduleExplorer": check_schedule_explorer}


def test_shown_values_equal_pythons(shown):
    widget, root = shown
    assert widget.kind in CHECKS, f"nobody compares {widget.kind} with Python yet: add a function to CHECKS"
    CHECKS[widget.kind](widget, root)
