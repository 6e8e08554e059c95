import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reshim.errors import UserError
from reshim.scans.annotation_files import read_annotations, read_csv, read_xml, write_csv, write_xml
from reshim.scans.boxes import Annotations, Box, Label, read_fastmri_plus

pytest.importorskip("xmlschema", reason="the extra `formats` is not installed")

REAL = os.environ.get("RESHIM_REAL_DATA")
SOME = Annotations(
    (
        Box("ä,b", 1, 2, 3, 4, 5, 'a "label" & <more>', 0.25, "reading 2"),
        Box("c", 0, -3, 0, 1, 1, "two\nlines\tand a tab"),
        Box("ä,b", 0, 0, 0, 0, 0, "nothing inside", 1.0),
    ),
    (Label("c", "motion", 7, 0.1), Label("d", "normal", source="fastMRI+")),
    drawn_upside_down=True,
)
WRITERS = {"csv": write_csv, "xml": write_xml}


def same(one: Annotations, other: Annotations) -> bool:
    """Equal but for the order, which XML gathers by scan."""
    return (
        sorted(map(repr, one.boxes)) == sorted(map(repr, other.boxes))
        and sorted(map(repr, one.labels)) == sorted(map(repr, other.labels))
        and one.drawn_upside_down == other.drawn_upside_down
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_annotations_written_and_read_are_the_same(tmp_path, kind):
    path = tmp_path / "findings.dat"  # the kind is told by the content
    WRITERS[kind](path, SOME)
    assert same(read_annotations(path), SOME)
    WRITERS[kind](path, Annotations(()))
    assert read_annotations(path) == Annotations(())


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12
).filter(lambda text: not set(text) & {"\ufffe", "\uffff"})
about = {"confidence": st.none() | st.floats(0, 1), "source": st.none() | names}
places = st.tuples(*[st.integers(-1000, 1000)] * 2, *[st.integers(0, 1000)] * 2)
boxes = st.builds(
    lambda scan, number, place, label, **more: Box(
        scan, number, place[0], place[1], place[0] + place[2], place[1] + place[3], label, **more
    ),
    names,
    st.integers(0, 500),
    places,
    names,
    **about,
)
labels = st.builds(Label, names, names, st.none() | st.integers(0, 500), **about)


@given(boxes=st.lists(boxes, max_size=4), labels=st.lists(labels, max_size=3), upside_down=st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_annotation_survives_both_kinds_of_file(tmp_path_factory, boxes, labels, upside_down):
    path = tmp_path_factory.mktemp("annotations") / "findings"
    given_ = Annotations(tuple(boxes), tuple(labels), upside_down and bool(boxes or labels))
    for write in WRITERS.values():
        write(path, given_)
        assert same(read_annotations(path), given_)


def test_fastmri_plus_keeps_its_frame_through_both_kinds(tmp_path):
    source = tmp_path / "knee.csv"
    source.write_text(
        "file,slice,study_level,x,y,width,height,label\nf,1,No,2,3,4,5,Tear\nf,0,Yes,,,,,Artifact\n"
    )
    annotations = read_annotations(source)
    assert annotations == read_fastmri_plus(source)
    write_xml(tmp_path / "a.xml", annotations)
    write_csv(tmp_path / "a.csv", read_annotations(tmp_path / "a.xml"))
    assert read_annotations(tmp_path / "a.csv") == annotations


def test_the_first_version_is_still_read(tmp_path):
    (tmp_path / "old.csv").write_text(
        "version,scan,slice,row_start,column_start,row_stop,column_stop,label,confidence\n1,a,0,1,2,3,4,x,0.5\n"
    )
    assert read_annotations(tmp_path / "old.csv") == Annotations((Box("a", 0, 1, 2, 3, 4, "x", 0.5),))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("3,stored,a,0,0,0,1,1,x,,", "version 3"),
        ("2,stored,a,0,zero,0,1,1,x,,", "line 2"),
        ("2,stored,a,0,0,0,1,1,x,much,", "line 2"),
        ("2,stored,a,0,0,0,1,1,x,1.5,", "between 0 and 1"),
        ("2,stored,a,0,0,0,1,1,x,nan,", "no number"),
        ("2,stored,a,0,5,0,1,1,x,,", "ends before it starts"),
        ("2,stored,a,0,5,0,,1,x,,", "is only row_start"),
        ("2,sideways,a,0,0,0,1,1,x,,", "frames"),
    ],
)
def test_what_is_no_box_is_refused_with_its_line(tmp_path, line, why):
    path = tmp_path / "boxes.csv"
    write_csv(path, Annotations(()))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match=why):
        read_csv(path)
    with pytest.raises(UserError, match="expected file, slice"):
        read_fastmri_plus(path)


def xml(inner: str, head: str = 'version="2" frame="stored"') -> str:
    return f'<annotations xmlns="urn:reshim:annotations" {head}>{inner}</annotations>'


BOX = 'slice="0" row_start="0" column_start="0" row_stop="1" column_stop="1"'
BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (xml(f'<scan name="a"><box {BOX}/></scan>'), "'label'"),
        (xml(f'<scan name="a"><box {BOX} label="x" author="me"/></scan>'), "author"),
        (xml(f'<scan name="a"><box {BOX} label="x" confidence="2"/></scan>'), "value has to be less"),
        (xml(f'<scan name="a"><box {BOX.replace("1", "one")} label="x"/></scan>'), "breaks the schema"),
        (xml(f'<scan name="a"><polygon {BOX} label="x"/></scan>'), "polygon"),
        (xml('<scan name="a"/><scan name="a"/>'), "duplicated"),
        (xml("", 'version="2" frame="sideways"'), "breaks the schema"),
        (xml("", 'version="9" frame="stored"'), "version 9"),
        (xml("", 'frame="stored"'), "no number"),
        ("<annotations version='2'/>", "expected annotations of urn:reshim"),
        ("<a>" * 20_000 + "</a>" * 20_000, "expected annotations"),
        (xml("<scan>" * 20_000 + "</scan>" * 20_000), "breaks the schema"),
        ("<annotations", "no plain XML"),
        (BOMB + "]>" + xml('<scan name="&j;"/>'), "no plain XML"),
        (
            '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + xml('<scan name="&x;"/>'),
            "no plain XML",
        ),
        ('<!DOCTYPE b SYSTEM "http://localhost/x.dtd">' + xml(""), "no plain XML"),
        ('<?xml version="1.0" encoding="no-such"?>' + xml(""), "no plain XML"),
        (
            xml(
                "",
                'version="2" frame="stored" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
                'xsi:schemaLocation="urn:reshim:annotations http://localhost/evil.xsd"',
            ),
            "a schema or a type of its own",
        ),
    ],
)
def test_hostile_or_wrong_xml_is_refused_at_once(tmp_path, text, why):
    path = tmp_path / "a.xml"
    path.write_text(text)
    started = time.perf_counter()
    with pytest.raises(UserError, match=why):
        read_annotations(path)
    assert time.perf_counter() - started < 5


def test_what_xml_cannot_hold_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.xml"
    write_xml(path, SOME)
    before = path.read_bytes()
    changes = [{"label": "\x01"}, {"label": ""}, {"slice_index": -1}]
    for changed in changes:
        with pytest.raises(UserError):
            write_xml(path, Annotations((replace(SOME.boxes[0], **changed),)))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.xml"]
    with pytest.raises(UserError, match="cannot be read"):
        read_xml(tmp_path / "missing.xml")


@pytest.mark.real_data
@pytest.mark.skipif(REAL is None, reason="RESHIM_REAL_DATA names no folder of real annotations")
def test_the_published_brain_annotations_pass_through_both_kinds(tmp_path):
    annotations = read_annotations(Path(REAL) / "fastmri-plus" / "brain.csv")
    write_csv(tmp_path / "a.csv", annotations)
    assert read_annotations(tmp_path / "a.csv") == annotations
    few = replace(annotations, boxes=annotations.boxes[:60], labels=annotations.labels[:10])
    write_xml(tmp_path / "a.xml", few)
    assert same(read_annotations(tmp_path / "a.xml"), few)
