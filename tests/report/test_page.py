"""The page is drawn from files alone, says what the numbers are, and lets no name act as HTML."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from reshim.errors import UserError
from reshim.report.blocks import ImagesBlock, MatrixBlock, Page
from reshim.report.context import open_folder
from reshim.report.overview import overview
from reshim.report.page import draw
from reshim.report.page_file import read_page, write_page
from reshim.rows import write_rows

from .study_folder import LEVELS, make_page, make_rows, make_study

VOID = {"meta", "img", "br", "link", "input"}


class Reader(HTMLParser):
    """Checks that elements nest, and keeps texts, tags and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("runs") / "made-up")
    draw(folder)
    return folder


def test_every_block_is_on_the_page_and_elements_nest(study):
    words = " ".join(read(study / "index.html").text)
    for block in make_page().blocks:
        assert block.title in words
    assert "Not drawn" not in words


def test_the_page_asks_nothing_of_the_network(study):
    reader = read(study / "index.html")
    assert reader.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in reader.addresses)
    assert "http" not in "".join(address for address in reader.addresses)


def test_every_picture_says_what_it_shows(study):
    tags = read(study / "index.html").tags
    pictures = [attrs for tag, attrs in tags if tag == "img"]
    assert len(pictures) == 9
    assert all(attrs.get("alt") for attrs in pictures)
    plots = [attrs for tag, attrs in tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(plots) == 3
    assert all(attrs["aria-label"] for attrs in plots)


def test_simulated_data_is_called_so_in_the_header(study):
    html = (study / "index.html").read_text()
    assert "No person was scanned" in html[: html.index("<main>")]


def test_the_verdicts_stand_before_everything_else(study):
    words = " ".join(" ".join(read(study / "index.html").text).split())
    assert "1 of 3 claims holds" not in words
    assert "1 of 3 claims hold · 1 contradicted · 1 no answer" in words
    assert "no rows with anatomy = 'heart'" in words


def test_drawing_again_gives_the_same_bytes_and_leaves_nothing_behind(study):
    before = (study / "index.html").read_bytes()
    names = sorted(path.name for path in study.iterdir())
    draw(study)
    assert (study / "index.html").read_bytes() == before
    assert sorted(path.name for path in study.iterdir()) == names


def test_numbers_on_the_page_are_those_of_the_rows(tmp_path, study):
    folder = make_study(tmp_path / "moved")
    rows = [row | {"value": row["value"] - 0.5} for row in make_rows()]
    write_rows(folder / "rows.parquet", rows)
    shown = [" ".join(read(draw(each)).text) for each in (study, folder)]
    assert "0.93" in shown[0]
    assert "0.43" in shown[1]
    assert "0.43" not in shown[0]


HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>"


def test_names_in_rows_page_and_summary_cannot_act_as_html(tmp_path):
    folder = make_study(tmp_path / "hostile", mask=HOSTILE, dataset=HOSTILE, contrast=HOSTILE)
    page = json.loads((folder / "page.json").read_text().replace('"f_P"', json.dumps(HOSTILE)))
    page["title"] = page["question"] = HOSTILE
    page["blocks"][-1]["settings"] = {HOSTILE: HOSTILE}
    (folder / "page.json").write_text(json.dumps(page))
    summary = json.loads((folder / "summary.json").read_text())
    for claim in summary["claims"]:
        claim |= dict.fromkeys(("id", "claim", "rule", "unit", "paper", "note", "verdict"), HOSTILE)
    (folder / "summary.json").write_text(
        json.dumps(summary | {"study": HOSTILE, "data": {"data_kind": HOSTILE}})
    )
    for path in (draw(folder), overview([folder], tmp_path / "index.html")):
        tags = read(path).tags
        assert not [attrs for _, attrs in tags if any(name.startswith("on") for name in attrs)]
        assert sum(tag == "script" for tag, _ in tags) == (1 if path.parent == folder else 0)
        assert all(attrs["src"].startswith("data:") for tag, attrs in tags if tag == "img")
        assert "alert(1)" in " ".join(read(path).text), "the name itself should be shown"


def test_rows_without_a_study_get_a_plain_page(tmp_path):
    write_rows(tmp_path / "scores.parquet", make_rows())
    words = " ".join(read(draw(tmp_path)).text)
    assert "SSIM against mvue, support" in words
    assert "knee PD" in words


def test_every_mask_is_named_in_full_and_a_metric_by_its_crop_where_they_differ(tmp_path):
    rows = [row | {"crop_rows": 48, "crop_columns": 40} for row in make_rows()]
    write_rows(tmp_path / "rows.parquet", rows)
    html = draw(tmp_path).read_text()
    for hash_ in {row["mask_sha256"] for row in rows}:
        assert hash_ in html
    assert "<summary>6 masks</summary>" in html
    assert "48 × 40 pixels" in html
    assert "<small>on" not in html
    write_rows(tmp_path / "rows.parquet", [*rows, rows[0] | {"metric": "dice", "crop_rows": 16}])
    html = draw(tmp_path).read_text()
    assert "<small>on 16 × 40 pixels</small>" in html
    assert "<small>on 48 × 40 pixels</small>" in html


def test_tables_compare_to_the_method_that_is_asked_for(tmp_path, study):
    write_rows(tmp_path / "scores.parquet", make_rows())
    assert "p (Holm)" not in (draw(tmp_path)).read_text()
    words = " ".join(read(draw(tmp_path, "f_P")).text)
    assert "difference to f_P" in words
    assert "corrected by Holm" in words
    with pytest.raises(UserError, match=r"has a row 'gone'; rows are adapted, f_P, f_Q, sense"):
        draw(tmp_path, "gone")


def test_a_study_is_compared_to_another_row_and_then_to_its_own_again(tmp_path):
    folder = make_study(tmp_path / "made-up")
    assert "difference to f_Q" in draw(folder, "f_Q").read_text()
    own = draw(folder).read_text()
    assert "difference to sense" in own
    assert "difference to f_Q" not in own


def test_a_folder_without_anything_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no rows .* and no summary.json"):
        draw(tmp_path)


@pytest.mark.parametrize("content", ["{", '{"blocks": [{"kind": "spell"}]}', '{"study": "a"}', "[]"])
def test_a_damaged_page_file_is_named(tmp_path, content):
    write_rows(tmp_path / "rows.parquet", make_rows())
    (tmp_path / "page.json").write_text(content)
    with pytest.raises(UserError, match=r"page.json is no page that this version draws"):
        draw(tmp_path)


def test_a_block_whose_files_are_missing_says_so_and_the_others_are_drawn(tmp_path):
    write_rows(tmp_path / "rows.parquet", make_rows())
    blocks = (ImagesBlock("Pictures", examples=("gone",)), MatrixBlock("Matrix"))
    write_page(tmp_path, Page("a", "A", blocks=blocks))
    words = " ".join(read(draw(tmp_path)).text)
    assert "Not drawn: example" in words
    assert "Matrix" in words


def test_a_page_comes_back_from_its_file_as_it_was(tmp_path):
    write_page(tmp_path, make_page())
    assert read_page(tmp_path) == make_page()


def test_the_report_needs_no_torch():
    modules = "reshim.report.page, reshim.report.overview, reshim.report.made, reshim.evaluation.claims"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_the_overview_lists_theirs_beside_ours(study, tmp_path):
    page = overview([study, study / "summary.json"], study.parent / "index.html")
    reader = read(page)
    words = " ".join(" ".join(reader.text).split())
    assert "Adapting gains on brains." in words
    assert "+0.5000" in words
    assert "simulated" in words
    assert "made-up/index.html" in reader.addresses


def test_methods_of_one_folder_are_all_counted(study):
    assert open_folder(study).distinct("method") == sorted(LEVELS)
