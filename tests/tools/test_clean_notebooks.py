import nbformat
import pytest

from tools import clean_notebooks


def notebook(tmp_path, *cells, **metadata):
    path = tmp_path / "01_a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells), metadata=metadata), path)
    return path


def code(source, *tags, outputs=(), count=None):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags), "collapsed": True}, outputs=list(outputs),
                                     execution_count=count)


def printed(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def test_outputs_of_a_cell_that_is_not_compared_are_found_and_stripped(tmp_path):
    path = notebook(tmp_path, code("print(1)", outputs=[printed("1\n")], count=7))
    assert clean_notebooks.problems(path) == ["cell 0 has outputs"]
    assert clean_notebooks.clean(path, execute=False)
    assert clean_notebooks.problems(path) == []
    cell = nbformat.read(path, 4).cells[0]
    assert cell.outputs == [] and cell.execution_count is None and cell.metadata == {}


def test_cleaning_twice_changes_nothing(tmp_path):
    title = nbformat.v4.new_markdown_cell("# A  \n")
    path = notebook(tmp_path, title, code("x = 1\n"), widgets={"state": {}}, authors=[])
    assert clean_notebooks.clean(path, execute=False)
    text = path.read_text()
    assert not clean_notebooks.clean(path, execute=False) and path.read_text() == text


def test_compared_cell_without_output_is_found(tmp_path):
    path = notebook(tmp_path, code("print(1)", clean_notebooks.COMPARED))
    clean_notebooks.clean(path, execute=False)
    assert clean_notebooks.problems(path) == ["cell 0 is compared but has no recorded output"]


def test_a_run_records_the_text_of_compared_cells_only(tmp_path):
    compared = code("import os\nprint(os.environ['GENAI_QUICK'])\n(1, 2)", clean_notebooks.COMPARED)
    path = notebook(tmp_path, code("print('no')"), compared)
    clean_notebooks.clean(path, execute=True)
    first, second = nbformat.read(path, 4).cells
    assert first.outputs == [] and second.execution_count == 2
    assert [o.get("text") or o.data["text/plain"] for o in second.outputs] == ["1\n", "(1, 2)"]
    assert clean_notebooks.problems(path) == []


def test_pictures_and_errors_streams_are_not_kept():
    picture = nbformat.v4.new_output("display_data", data={"image/png": "aGk=", "text/plain": "<Figure>"})
    assert clean_notebooks.text_only(picture).data == {"text/plain": "<Figure>"}
    assert clean_notebooks.text_only(nbformat.v4.new_output("stream", name="stderr", text="!")) is None


def test_check_names_the_notebook_and_the_command(tmp_path, capsys):
    path = notebook(tmp_path, code("print(1)", outputs=[printed("1\n")], count=1))
    with pytest.raises(SystemExit, match="make clean-notebooks"):
        clean_notebooks.main(["--check", str(path)])
    assert str(path) in capsys.readouterr().out


def test_repeated_and_missing_ids_become_unique_and_stay(tmp_path):
    path = notebook(tmp_path, code("a"), code("b"), code("c"))
    nb = nbformat.read(path, 4)
    for cell in nb.cells:
        cell["id"] = "same"
    ids = [cell.id for cell in clean_notebooks.normalise(nb).cells]
    assert len(set(ids)) == 3 and ids[0] == "same"
    assert [cell.id for cell in clean_notebooks.normalise(clean_notebooks.normalise(nb)).cells] == ids


def test_an_assignments_variants_grades_and_locks_stay():
    marks = {"grade": True, "locked": True, "grade_id": "f-test", "points": 2, "schema_version": 3}
    cell = nbformat.v4.new_code_cell("assert f", metadata={
        "nbgrader": marks, "deletable": False, "editable": False, "collapsed": True, "tags": []})
    nb = nbformat.v4.new_notebook(cells=[cell], metadata={"genai": {"variants": {"n": ["1", "2"]}}, "colab": {"x": 1}})
    clean = clean_notebooks.normalise(nb)
    assert clean.cells[0].metadata == {"nbgrader": marks, "deletable": False, "editable": False}
    assert clean.metadata["genai"] == nb.metadata["genai"] and "colab" not in clean.metadata
