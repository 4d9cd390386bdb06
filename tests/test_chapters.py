"""Every chapter keeps the rules of tools/chapter_rules.py; and every rule finds the mistake it is there for."""

import copy
import dataclasses
import statistics

import nbformat
import pytest

from tools import chapter_rules, chapters, costs, set_repository

CHAPTERS = chapters.paths()
RULES = {rule.__name__: rule for rule in chapter_rules.RULES}
ALT = "Twelve noisy digits become clear, left to right"
SOLUTION = "def add(a, b):\n    return a + b"
NAME = chapters.ROOT / "notebooks" / "01_what_is_a_generative_model.ipynb"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
@pytest.mark.parametrize("rule", RULES)
def test_chapter_keeps_the_rule(path, rule):
    wrong = RULES[rule](chapters.read(path), path)
    assert not wrong, f"{path.name}, {rule}:\n- " + "\n- ".join(wrong)


def test_alt_texts_are_unique_over_the_book():
    seen = {}
    for path in CHAPTERS:
        for where, alt in chapter_rules.alt_texts(chapters.read(path)):
            seen.setdefault(alt, []).append(f"{path.name} {where}")
    repeated = {alt: places for alt, places in seen.items() if len(places) > 1 and alt}
    assert not repeated, f"one alt text for several pictures: {repeated}"


def test_chapters_together_take_twenty_seconds_each_at_most():
    """Within 15 %: the yardstick does not carry over exactly from one kind of processor to another. The same code of
    chapter 07 took 11.2 s at pace 1 by one (AMD EPYC) and 19.6 by another (Intel with AVX-512)."""
    boxes = [chapters.tagged(chapters.read(path), "cost") for path in CHAPTERS]
    seconds = [costs.parse(box[0].source).paced for box in boxes if box]
    assert len(seconds) == len(CHAPTERS) and (not seconds or statistics.mean(seconds) <= 1.15 * 20), seconds


def test_links_and_setup_cells_follow_the_address_in_config():
    assert set_repository.out_of_step() == [], "cure: python -m tools.set_repository --write"


def test_every_chapter_in_the_table_of_contents_exists():
    wanted = {page.removeprefix("notebooks/") for page in chapters.toc() if page.startswith("notebooks/")}
    assignments = {name.removeprefix("assignments/") for name in wanted if name.startswith("assignments/")}
    assert {name for name in wanted if "/" not in name} == {path.stem for path in CHAPTERS}
    assert assignments == {path.stem for path in chapters.assignments()}


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_leads_to_its_assignment(path):
    text = "\n".join(cell.source for cell in chapters.read(path).cells if cell.cell_type == "markdown")
    assert f"[Assignment {int(path.stem[:2])}](assignments/{path.stem}.ipynb)" in text


def good_chapter():
    """The smallest chapter that keeps every rule."""
    md, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell

    def tagged(cell, tag):
        cell.metadata["tags"] = [tag]
        return cell

    cells = [
        md("# A chapter\n\n**You will be able to**\n- do\n- re\n- mi"),
        tagged(md("later"), "cost"),
        tagged(code("import this"), "setup"),
        tagged(code("from genai_utils.widgets import play_frames, show\nQUICK = quick_mode()\nSEED = 0"), "parameters"),
    ]
    for section in chapters.SECTIONS:
        cells.append(md(f"## {section}"))
        if section == "See it move":
            cells += [code("play_frames(frames)"), code(f'show(figure, alt="{ALT}")')]
        if section == "Exercises":
            for number, kind in enumerate(("warm-up", "build", "open"), 1):
                cells += [
                    md(f"### Exercise {number} ({kind}): add"),
                    tagged(code("def add(a, b):\n    raise NotImplementedError"), "exercise"),
                    tagged(code(f'@check("exercise {number}")\ndef _():\n    assert add(1, 2) == 3'), "check"),
                    md(f"<details><summary>Solution</summary>\n\n```python\n{SOLUTION}\n```\n\n</details>"),
                ]
        if section == "References":
            cells.append(md(f"{{cite}}`{sorted(chapter_rules.bibliography())[0]}`"))
    nb = nbformat.v4.new_notebook(cells=cells)
    cost = costs.Cost(seconds=3, gigabytes=1, hardware="a CPU (2 cores)", flops="1.50e+12", gpu=costs.NOT_MEASURED,
                      code=chapters.code_hash(nb))
    nb.cells[1].source = cost.box()
    return nb


def edit(index, old, new):
    def apply(nb):
        assert old in nb.cells[index].source
        nb.cells[index].source = nb.cells[index].source.replace(old, new)
    return apply


def find(nb, text):
    return next(i for i, cell in enumerate(nb.cells) if text in cell.source)


def swap(first, second):
    def apply(nb):
        a, b = find(nb, first), find(nb, second)
        nb.cells[a], nb.cells[b] = nb.cells[b], nb.cells[a]
    return apply


def replace(old, new):
    return lambda nb: edit(find(nb, old), old, new)(nb)


def drop(text):
    return lambda nb: nb.cells.pop(find(nb, text))


def add(cell):
    return lambda nb: nb.cells.insert(-1, cell)


MISTAKES = [
    ("sections", "section missing", drop("## Sample")),
    ("sections", "sections out of order", swap("## Sample", "## Train")),
    ("sections", "unknown section", replace("## Evaluate", "## Evaluation")),
    ("sections", "second title", add(nbformat.v4.new_markdown_cell("# Another"))),
    ("sections", "heading too deep", add(nbformat.v4.new_markdown_cell("#### Deep"))),
    ("opening", "no aims", replace("**You will be able to**", "You will learn")),
    ("opening", "two aims", replace("\n- mi", "")),
    ("opening", "setup after parameters", swap("import this", "QUICK")),
    ("opening", "no seed", replace("SEED = 0", "")),
    ("sizes", "26 lines", add(nbformat.v4.new_code_cell("pass\n" * 26))),
    ("sizes", "89 columns", add(nbformat.v4.new_code_cell("x = " + "1" * 85))),
    ("sizes", "61 cells", lambda nb: nb.cells.extend(nbformat.v4.new_markdown_cell("x") for _ in range(61))),
    ("sizes", "setup of 11 lines", replace("import this", "import this\n" * 11)),
    ("cost_box", "written by hand", replace("> **What it costs.**", "> Costs little.")),
    ("cost_box", "stale code", replace("play_frames(frames)", "play_frames(film)")),
    ("cost_box", "too slow", replace(": 3.0 s", ": 41.0 s")),
    ("cost_box", "slow on a fast CPU", replace("cores).", "cores), at 0.05 times the time of the yardstick.")),
    ("cost_box", "too large", replace("1.50e+12", "6.00e+15")),
    ("references", "unknown key", add(nbformat.v4.new_markdown_cell("see {cite:t}`nobody1900nothing`"))),
    ("references", "nothing cited", lambda nb: nb.cells.pop()),
    ("widgets", "no widget", drop("play_frames(frames)")),
    ("exercises", "two exercises", lambda nb: [drop("Exercise 3")(nb), *[nb.cells.pop(-3) for _ in range(3)]]),
    ("exercises", "no solution", drop("<details>")),
    ("exercises", "no check", drop('@check("exercise 2")')),
    ("exercises", "wrong number", replace("Exercise 2 (", "Exercise 4 (")),
    ("exercises", "starter that does not raise", replace("raise NotImplementedError", "return 0")),
    ("pictures", "no alt", replace(f', alt="{ALT}"', "")),
    ("pictures", "short alt", replace(ALT, "digits")),
    ("pictures", "alt in a variable", replace(f'alt="{ALT}"', "alt=text")),
    ("pictures", "plt.show", add(nbformat.v4.new_code_cell("plt.show()"))),
    ("pictures", "figure as the cell's value", add(nbformat.v4.new_code_cell("image_grid(x)"))),
    ("pictures", "markdown image without alt", add(nbformat.v4.new_markdown_cell("![](a.png)"))),
]


def test_the_smallest_good_chapter_keeps_every_rule():
    nb = good_chapter()
    assert {name: wrong for name, rule in RULES.items() if (wrong := rule(nb, NAME))} == {}


@pytest.mark.parametrize("rule, what, spoil", MISTAKES, ids=[f"{rule}-{what}" for rule, what, _ in MISTAKES])
def test_rule_finds_the_planted_mistake(rule, what, spoil):
    nb = copy.deepcopy(good_chapter())
    spoil(nb)
    assert RULES[rule](nb, NAME), f"{rule} does not see: {what}"


def test_in_toc_finds_a_chapter_that_is_not_listed():
    assert chapter_rules.in_toc(good_chapter(), NAME.with_name("99_nowhere.ipynb"))


def test_a_solution_and_the_next_heading_may_share_a_cell():
    nb = good_chapter()
    for number in (2, 3):
        place = find(nb, f"### Exercise {number} ")
        heading = nb.cells.pop(place)
        nb.cells[place - 1].source += f"\n\n{heading.source}"
    assert chapter_rules.exercises(nb, NAME) == []
    assert [found.solution.strip() for found in chapter_rules.read_exercises(nb)] == [SOLUTION] * 3


def test_an_open_question_may_go_without_starter_but_does_not_count():
    nb = good_chapter()
    question = nbformat.v4.new_markdown_cell("### Exercise 4 (open): spend eight evaluations\n\nHow?")
    nb.cells.insert(find(nb, "## References"), question)
    assert chapter_rules.exercises(nb, NAME) == []
    assert [found.number for found in chapter_rules.read_exercises(nb)] == [1, 2, 3]


def test_cost_box_survives_writing_and_reading():
    cost = costs.parse(good_chapter().cells[1].source)
    for pace in (1.0, 1.75):
        paced = dataclasses.replace(cost, pace=pace)
        assert costs.parse(paced.box()) == paced and paced.paced == cost.seconds / pace
