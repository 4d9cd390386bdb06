"""fit_mixture: what the page shows is what Python computes; it moves by keyboard and pointer with no kernel."""

import base64
import json
import shutil

import pytest
import torch

from genai_utils.widgets.fit_mixture import fit_mixture, mixture_log_prob

ALT = "Three clouds of dots and three dashed circles that the reader drags"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = """<!doctype html><html lang="en"><head><title>fit</title><style>%s</style></head><body><div id="host"></div>
<script type="module">
const state = %s, heard = {};
const bytes = text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
for (const k of ["train", "holdout"]) state[k] = bytes(state[k]);
const model = {get: k => state[k], set: (k, v) => { state[k] = v; (heard[k] || []).forEach(f => f()); },
  save_changes() {}, off() {}, on: (k, f) => k.split(" ").forEach(e => (heard[e.slice(7)] ??= []).push(f))};
const source = URL.createObjectURL(new Blob([%s], {type: "text/javascript"}));
const widget = await import(source);
widget.default.render({model, el: document.getElementById("host")});
window.state = state;
</script></body></html>"""


def points(n, d, seed):
    g = torch.Generator().manual_seed(seed)
    centre = torch.tensor([[-1.5, 0.0], [1.0, 1.0], [0.5, -1.5]])[torch.randint(3, (n,), generator=g)]
    return (centre + 0.4 * torch.randn(n, 2, generator=g))[:, :d]


def widget(d=2, **kw):
    return fit_mixture(points(60, d, 0), points(50, d, 1), alt=ALT, **kw)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    contexts = []

    def show(w, **options):
        names = [n for n, t in w.traits().items() if t.metadata.get("sync") and not n.startswith("_")]
        state = {n: getattr(w, n) for n in names if n not in ("layout", "tabbable", "tooltip", "comm")}
        state |= {n: base64.b64encode(state[n]).decode() for n in ("train", "holdout")}
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda e: page.errors.append(str(e)))
        page.set_content(PAGE % (str(w._css), json.dumps(state), json.dumps(str(w._esm)).replace("</", "<\\/")))
        page.wait_for_selector(".gw[data-value]")
        return page

    yield show
    for context in contexts:
        context.close()


def shown(page):
    page.wait_for_timeout(60)  # one animation frame
    return float(page.locator(".gw").get_attribute("data-value"))


def mirror(w, page):
    """Give the Python widget the state that the page is in."""
    for name in ("means", "scales", "weights", "noise", "kernel", "kind"):
        setattr(w, name, page.evaluate(f"window.state.{name}"))
    return w


def test_mixture_log_prob_equals_torch_distributions():
    g = torch.Generator().manual_seed(0)
    x, means = torch.randn(20, 2, generator=g).double(), torch.randn(3, 2, generator=g).double()
    scales, weights = torch.tensor([[0.3, 1.0, 2.0], [0.2, 0.5, 0.3]], dtype=torch.float64)
    D = torch.distributions
    parts = D.Independent(D.Normal(means, scales[:, None]), 1)
    wanted = D.MixtureSameFamily(D.Categorical(weights), parts).log_prob(x)
    torch.testing.assert_close(mixture_log_prob(x, means, scales, weights), wanted, rtol=1e-12, atol=1e-12)


def test_noise_never_costs_more_than_the_log_of_its_odds():
    w = widget()
    clean = w.log_prob(points(50, 2, 1))
    w.noise = 0.99
    assert (w.log_prob(points(50, 2, 1)) >= clean + torch.tensor(0.01).double().log() - 1e-9).all()


def test_density_with_noise_and_memoriser_integrate_to_one():
    w = widget(d=1)
    grid = torch.linspace(w.extent[0], w.extent[1], 4001).double()[:, None]
    for kind, noise in (("mixture", 0.5), ("memoriser", 0.0)):
        w.kind, w.noise, w.scales = kind, noise, [0.2, 0.2, 0.2]
        w.means = [[-1.0], [0.0], [1.0]]
        area = torch.trapezoid(w.log_prob(grid).exp(), grid[:, 0]).item()
        assert abs(area - 1) < 2e-3, (kind, area)


def test_narrow_kernels_raise_the_training_score_and_sink_the_held_out_one():
    w = widget(kind="memoriser")
    train = points(60, 2, 0)
    scores = []
    for w.kernel in (0.3, 0.003):
        scores.append((w.log_prob(train).mean().item(), w.score()))
    assert scores[1][0] > scores[0][0] and scores[1][1] < scores[0][1] - 10


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(points=torch.zeros(20, 3)), "shape"),
        (dict(points=torch.zeros(20, 2, dtype=torch.int64)), "floats"),
        (dict(points=torch.full((20, 2), torch.nan)), "not finite"),
        (dict(points=torch.randn(5, 2)), "10 to 2000"),
        (dict(holdout=torch.randn(20, 1)), "dimensions"),
        (dict(components=4), "components"),
        (dict(kind="gan"), "kind"),
        (dict(rate=0.0), "rate"),
        (dict(alt="dots"), "alt"),
    ],
)
def test_fit_mixture_refuses_bad_input_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        fit_mixture(**{"points": torch.randn(20, 2), "holdout": torch.randn(20, 2), "alt": ALT} | change)


@pytest.mark.parametrize("d", [1, 2])
def test_shown_value_equals_python_at_every_slider(open_page, d):
    w = widget(d=d, best=-2.0)
    page = open_page(w)
    seen = {shown(page)}
    assert shown(page) == pytest.approx(w.score(), abs=6e-4)
    for name in ["x", "scale", "weight", "noise"] + ["y"] * (d - 1):
        page.locator(f"input[name={name}]").focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        seen.add(shown(page))
        assert shown(page) == pytest.approx(mirror(w, page).score(), abs=6e-4)
        assert "held-out" in page.locator(f"input[name={name}]").get_attribute("aria-valuetext")
    assert len(seen) == 5 + (d - 1) and not page.errors


def test_memoriser_slider_shows_what_python_computes(open_page):
    w = widget(kind="memoriser")
    page = open_page(w)
    for key in ("Home", "End", "ArrowLeft"):
        page.locator("input[name=kernel]").press(key)
        assert shown(page) == pytest.approx(mirror(w, page).score(), rel=1e-6, abs=6e-4)
    assert page.get_by_role("button", name="Climb").is_hidden()


def test_uphill_step_equals_a_clipped_gradient_step_in_torch(open_page):
    w = widget()
    page = open_page(w)
    train = points(60, 2, 0).double()
    mean, log_scale = torch.tensor(w.means).double().requires_grad_(), torch.tensor(w.scales).double().log()
    log_scale.requires_grad_()
    logits = torch.tensor(w.weights).double().log().requires_grad_()
    opt = torch.optim.SGD([mean, log_scale, logits], lr=w.rate)
    for _ in range(3):
        (-mixture_log_prob(train, mean, log_scale.exp(), logits.softmax(0)).mean()).backward()
        torch.nn.utils.clip_grad_norm_([mean, log_scale, logits], 1.0)
        opt.step()
        opt.zero_grad()
        page.get_by_role("button", name="One step uphill").click()
    for name, value in (("means", mean), ("scales", log_scale.exp()), ("weights", logits.softmax(0))):
        stepped = torch.tensor(page.evaluate(f"state.{name}"), dtype=torch.float64)
        torch.testing.assert_close(stepped, value.detach(), rtol=0, atol=1e-6)


def test_dragging_a_mean_moves_only_that_mean(open_page):
    w = widget()
    page = open_page(w)
    box = page.locator("canvas").bounding_box()
    left, right, bottom, top = w.extent
    x, y = w.means[1]
    at = [box["x"] + (x - left) / (right - left) * box["width"], box["y"] + (top - y) / (top - bottom) * box["height"]]
    before = shown(page)
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(at[0] + 40, at[1] - 30, steps=4)
    page.mouse.up()
    after = page.evaluate("state.means")
    assert after[0] == w.means[0] and after[2] == w.means[2]
    assert after[1][0] == pytest.approx(x + 40 / box["width"] * (right - left), abs=0.02)
    assert after[1][1] == pytest.approx(y + 30 / box["height"] * (top - bottom), abs=0.02)
    assert shown(page) != before
    assert shown(page) == pytest.approx(mirror(w, page).score(), abs=6e-4)


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_climb_raises_the_score_and_moves_only_where_motion_is_welcome(open_page, motion):
    page = open_page(widget(), reduced_motion=motion)
    before = shown(page)
    page.get_by_role("button", name="Climb").click()
    first = shown(page)
    page.wait_for_timeout(300)
    assert shown(page) > before
    assert (shown(page) == first) == (motion == "reduce")


def test_widget_fits_a_phone_and_names_every_control(open_page):
    page = open_page(widget(), viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    names = page.evaluate("[...document.querySelectorAll('input')].map(i => i.labels[0]?.textContent.trim() ?? '')")
    assert len(names) > 8 and all(names)
    assert len(page.locator("canvas").get_attribute("aria-label")) > 30
