import nbformat
import pytest

from tools import chapters, clean_notebooks, costs


def chapter(tmp_path, *cells):
    path = tmp_path / "01_a.ipynb"
    box = nbformat.v4.new_markdown_cell("not measured yet", metadata={"tags": ["cost"]})
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A"), box, *cells])
    clean_notebooks.write(nb, path)
    return path


def code(source, *tags):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})


def test_measured_box_names_this_code_and_its_flops(tmp_path):
    path = chapter(
        tmp_path, code("import os, time\ntime.sleep(0.5)\nassert os.environ['OMP_NUM_THREADS'] == '1'"),
        code("big = bytearray(300_000_000)"), code("print('full-scale training: 1.5e+12 FLOPs')", "full-cost"))
    cost = costs.update(path)
    assert costs.parse(chapters.read(path).cells[1].source).code == chapters.code_hash(chapters.read(path)) == cost.code
    assert cost.seconds > 0.5 and cost.gigabytes > 0.3 and cost.flops == "1.50e+12" and cost.gpu == costs.NOT_MEASURED
    assert clean_notebooks.problems(path) == []


def test_code_hash_ignores_text_and_the_setup_cell_only(tmp_path):
    nb = chapters.read(chapter(tmp_path, code("pip", "setup"), code("x = 1")))
    before = chapters.code_hash(nb)
    nb.cells[0].source, nb.cells[2].source = "# B", "other"
    assert chapters.code_hash(nb) == before
    nb.cells[3].source = "x = 2"
    assert chapters.code_hash(nb) != before


def test_gpu_minutes_stay_while_the_code_stays(tmp_path):
    path = chapter(tmp_path, code("x = 1"))
    old = costs.Cost(seconds=1, gigabytes=1, hardware="h", flops="0", gpu="4.2 on a T4 (3.1 GB)",
                     code=chapters.code_hash(chapters.read(path)))
    assert costs.measure(path, old).gpu == old.gpu


def test_full_cost_cell_that_prints_no_flops_is_refused(tmp_path):
    with pytest.raises(ValueError, match="full-scale training"):
        costs.update(chapter(tmp_path, code("print('much')", "full-cost")))


def test_gpu_is_measured_only_after_the_cpu(tmp_path):
    with pytest.raises(ValueError, match="make costs"):
        costs.measure(chapter(tmp_path, code("x = 1")), None, gpu=True)


@pytest.mark.parametrize("text", ["", "> **Cost**: not measured yet.", "> **What it costs.** little"])
def test_text_that_the_command_did_not_write_is_no_box(text):
    with pytest.raises(ValueError, match="make costs"):
        costs.parse(text)
