"""A scan that is streamed comes back as the images of the same scan in a file; what is no scan is refused."""

import contextlib
import io
import socket
import threading
import xml.etree.ElementTree as ET

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ismrmrd.serialization import ConfigFile, ISMRMRDMessageID, ProtocolDeserializer, ProtocolSerializer
from tests.scans.miniature_mrd import line, write_mrd

from reshim.cli import main
from reshim.errors import UserError
from reshim.reconstruction import Request, reconstruct_file
from reshim.serve.messages import IMAGE_HEAD, LINE_HEAD, MAX_TEXT, StreamError, read_messages
from reshim.serve.server import Limits, Server
from reshim.serve.session import Session

COILS, ROWS, COLUMNS = 3, 24, 20
MAX_BYTES = 1 << 24


def make_kspace(slices=2, seed=0):
    generator = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(-1, 1, COLUMNS), np.linspace(-1, 1, ROWS))
    body = ((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1) * (1 + 0.5 * np.cos(7 * x) * np.sin(5 * y))
    coils = np.stack([np.exp(-((x - a) ** 2) - (y - b) ** 2) for a, b in ((-1, 0), (1, 0), (0, 1))])
    images = coils[None] * body * np.arange(1, slices + 1)[:, None, None, None]
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, (-2, -1))), (-2, -1))
    noise = generator.normal(size=(2, *kspace.shape))
    return (kspace + 0.01 * (noise[0] + 1j * noise[1])).astype(np.complex64)


def flat_lines(kspace, keep=lambda y: True, **index):
    return [
        line(kspace[number, :, :, y], step_1=y, slice=number, **index)
        for y in range(COLUMNS)
        for number in range(len(kspace))
        if keep(y)
    ]


def thinned(y):
    return y % 2 == 0 or 6 <= y < 14


@pytest.fixture
def scan(tmp_path):
    return write_mrd(
        tmp_path / "scan.h5", flat_lines(make_kspace(), thinned), (ROWS, COLUMNS, 1), COILS, slice_max=1
    )


def streamed(path, configuration="reshim"):
    """The bytes in which the standard's own library sends a file."""
    sink = io.BytesIO()
    serializer = ProtocolSerializer(sink)
    serializer.serialize(ConfigFile(configuration))
    with h5py.File(path) as file:
        xml = file["dataset/xml"][0]
    serializer.serialize(ismrmrd.xsd.CreateFromDocument(xml))
    dataset = ismrmrd.Dataset(str(path), "dataset", create_if_needed=False)
    for number in range(dataset.number_of_acquisitions()):
        serializer.serialize(dataset.read_acquisition(number))
    dataset.close()
    serializer.close()
    return sink.getvalue()


def sent_back(answer):
    """Images and texts of an answer, by the standard's own library."""
    return list(ProtocolDeserializer(io.BytesIO(answer)).deserialize())


def answered(session, sent):
    sink = io.BytesIO()
    session.answer(session.receive(io.BytesIO(sent)), sink)
    return [item for item in sent_back(sink.getvalue()) if isinstance(item, ismrmrd.Image)]


def session(method="sense", **changes):
    return Session(Request(method=method), MAX_BYTES, **changes)


def meta_of(image):
    return {
        each.findtext("name"): each.findtext("value")
        for each in ET.fromstring(image.attribute_string).findall("meta")
    }


def test_heads_have_the_sizes_of_the_standard():
    assert LINE_HEAD.itemsize == 340
    assert IMAGE_HEAD.itemsize == 198


@pytest.mark.parametrize("method", ["sense", "zero-filled"])
def test_the_images_are_those_of_the_same_scan_in_a_file(scan, tmp_path, method):
    images = answered(session(method), streamed(scan))
    reconstruct_file(scan, Request(method=method, formats=("h5",)), tmp_path / "out")
    with h5py.File(tmp_path / "out" / "scan.h5") as file:
        expected = file["reconstruction"][:]
    # The library hands out (channel, z, y, x), and x is our row.
    got = np.stack([image.data[0, 0].T for image in images])
    np.testing.assert_array_equal(got, expected)
    assert [image.slice for image in images] == [0, 1]
    assert [image.image_index for image in images] == [1, 2]
    assert images[0].image_type == ismrmrd.IMTYPE_MAGNITUDE
    assert meta_of(images[0])["ImageProcessingHistory"] == f"reshim {method}"
    # The last column was not acquired, and so counts as one that could not be.
    assert float(meta_of(images[0])["EffectiveAcceleration"]) == pytest.approx(19 / 14, rel=1e-3)


def test_whole_numbers_reach_white_and_say_how_to_undo_it(scan):
    plain = answered(session(), streamed(scan))
    whole = answered(session(numbers="uint16"), streamed(scan))
    assert whole[0].data.dtype == np.uint16
    assert max(image.data.max() for image in whole) == 4095
    slope = float(meta_of(whole[1])["RescaleSlope"])
    np.testing.assert_allclose(whole[1].data * slope, plain[1].data, atol=0.51 * slope)


def test_the_client_chooses_among_classical_methods_and_names_no_files(scan, tmp_path):
    chosen = answered(session("sense"), streamed(scan, "zero-filled"))
    assert meta_of(chosen[0])["ImageProcessingHistory"] == "reshim zero-filled"
    for other in (str(tmp_path), "runs/knee", "no such thing", "zs-ssl"):
        image = answered(session("sense"), streamed(scan, other))[0]
        assert meta_of(image)["ImageProcessingHistory"] == "reshim sense"


def test_each_contrast_is_a_series_of_its_own(tmp_path):
    lines = [
        each
        for contrast in (0, 1)
        for each in flat_lines(make_kspace(1, contrast) * (contrast + 1), contrast=contrast)
    ]
    path = write_mrd(tmp_path / "echoes.h5", lines, (ROWS, COLUMNS, 1), COILS, contrast_max=1)
    images = answered(session(), streamed(path))
    assert [(image.contrast, image.image_series_index) for image in images] == [(0, 0), (1, 1)]
    assert images[1].data.sum() > 1.5 * images[0].data.sum()


@pytest.mark.parametrize("whole", [True, False])
def test_a_3d_scan_comes_back_slice_by_slice_where_each_slice_lies(tmp_path, whole):
    n_z = 6
    flat = make_kspace(1)[0]
    lines = [
        line(flat[:, :, y] * np.exp(-0.1 * (z - 3) ** 2), step_1=y, step_2=z)
        for y in range(COLUMNS)
        for z in range(n_z)
        if whole or (y + z) % 2 == 0 or 6 <= y < 14
    ]
    path = write_mrd(tmp_path / "volume.h5", lines, (ROWS, COLUMNS, n_z), COILS)
    images = answered(session("zero-filled"), streamed(path))
    # Undersampled, it can be cut along readout alone.
    assert len(images) == (n_z if whole else ROWS)
    assert tuple(images[0].getHead().matrix_size) == ((ROWS, COLUMNS, 1) if whole else (COLUMNS, n_z, 1))
    across = np.array(images[0].slice_dir)
    np.testing.assert_allclose(across, [0, 0, 1] if whole else [1, 0, 0])
    places = [np.dot(image.position, across) for image in images]
    np.testing.assert_allclose(np.diff(places), 1.0, atol=1e-6)
    assert places[len(images) // 2] == 0


@pytest.fixture
def server(request):
    limits = getattr(request, "param", Limits(connections=1, idle_seconds=20.0))
    with Server(("127.0.0.1", 0), session(), limits) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running.server_address
        running.shutdown()


def talk(address, sent, close=True):
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(sent)
        if close:
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return answer.read()


def test_a_server_answers_one_scan_after_another_and_survives_what_is_none(server, scan):
    good = streamed(scan)
    first = talk(server, good)
    assert sum(isinstance(item, ismrmrd.Image) for item in sent_back(first)) == 2
    for bad, said in ((b"GET / HTTP/1.1\r\n\r\n", "message"), (good[:-3], "ends"), (b"", "ends")):
        (text,) = sent_back(talk(server, bad))
        assert said in text
    assert talk(server, good) == first


@pytest.mark.parametrize("server", [Limits(connections=1, idle_seconds=3.0)], indirect=True)
def test_who_sends_nothing_is_let_go_and_the_next_is_turned_away_meanwhile(server, scan):
    with socket.create_connection(server, timeout=60) as silent:
        silent.sendall(streamed(scan)[:2000])
        (text,) = sent_back(talk(server, b""))
        assert "again later" in text
        assert silent.makefile("rb").read() == b""
    assert sent_back(talk(server, streamed(scan)))


@pytest.mark.parametrize("server", [Limits(connections=1, opening_seconds=1.0)], indirect=True)
def test_who_never_says_a_word_holds_no_place_for_long(server, scan):
    with socket.create_connection(server, timeout=60) as silent:
        assert silent.makefile("rb").read() == b""
        assert sent_back(talk(server, streamed(scan)))


def test_the_reason_reaches_a_client_that_is_still_sending(server):
    """More is sent after the bad message than the buffers between both hold."""
    with socket.create_connection(server, timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        for _ in range(64):
            connection.sendall(b"\x00" * (1 << 20))
        connection.shutdown(socket.SHUT_WR)
        (text,) = sent_back(connection.makefile("rb").read())
    assert "message" in text


def head_bytes(**changed):
    head = np.zeros(1, LINE_HEAD)
    head["number_of_samples"], head["active_channels"] = ROWS, COILS
    for name, value in changed.items():
        head[name] = value
    return int(ISMRMRDMessageID.ACQUISITION).to_bytes(2, "little") + head.tobytes()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (head_bytes(number_of_samples=65535, active_channels=1024), "limit of this server"),
        (head_bytes(active_channels=65535), "65535 channels"),
        (head_bytes(number_of_samples=0), "0 samples"),
        (head_bytes(trajectory_dimensions=9), "9 trajectory dimensions"),
        (b"\x03\x00" + (MAX_TEXT + 1).to_bytes(4, "little"), "announced"),
        (b"\x03\x00\x02\x00\x00\x00\xff\xfe", "UTF-8"),
        (int(ISMRMRDMessageID.IMAGE).to_bytes(2, "little"), "1022"),
        (head_bytes() + b"\x00" * 7, "ends inside a line's samples"),
    ],
)
def test_absurd_messages_are_refused_before_anything_is_held(sent, said):
    with pytest.raises(StreamError, match=said):
        list(read_messages(io.BytesIO(sent), MAX_BYTES))


def test_a_header_that_declares_far_more_than_came_is_refused(tmp_path):
    few = [line(make_kspace(1)[0, :, :, 0])]
    path = write_mrd(tmp_path / "huge.h5", few, (ROWS, 60000, 60000), COILS)
    with pytest.raises(UserError, match="declares"):
        answered(session(), streamed(path))


def test_a_header_with_entities_and_a_scan_without_header_or_lines_are_refused(scan):
    evil = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><ismrmrdHeader>&a;</ismrmrdHeader>'
    header = b"\x03\x00" + len(evil).to_bytes(4, "little") + evil
    for sent, said in ((header, "stream"), (b"\x04\x00", "no header")):
        with pytest.raises(UserError, match=said):
            answered(session(), sent + b"\x04\x00")
    whole = streamed(scan)
    start = whole.index(b"\x03\x00", 1026)
    length = int.from_bytes(whole[start + 2 : start + 6], "little")
    with pytest.raises(UserError, match="no line"):
        answered(session(), whole[start : start + 6 + length] + b"\x04\x00")


def test_waveforms_texts_and_trajectories_are_passed_over(scan):
    whole = streamed(scan)
    extra = io.BytesIO()
    serializer = ProtocolSerializer(extra)
    serializer.serialize(ismrmrd.Waveform.from_array(np.zeros((2, 11), np.uint32)))
    serializer.serialize("a remark")
    before = answered(session(), whole)
    after = answered(session(), whole[:1026] + extra.getvalue() + whole[1026:])
    np.testing.assert_array_equal(after[1].data, before[1].data)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "99999"], "no port"),
        (["--max-gib", "0"], "above 0"),
        (["--with", "no such method"], "neither a method nor a RUN"),
        (["--with", "sense", "--adapt-option", "steps=3"], "changes how a RUN is fitted"),
        (["--host", "203.0.113.1"], "cannot listen on"),
    ],
)
def test_the_command_refuses_what_cannot_be_served(arguments, said, capsys):
    assert main(["serve", *arguments]) == 2
    assert said in capsys.readouterr().err


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_stream_gives_images_or_a_reason(data):
    sent = bytearray(test_a_damaged_stream_gives_images_or_a_reason.stream)
    for _ in range(data.draw(st.integers(1, 4))):
        # Most of the bytes are samples; what steers is at the start of a message.
        place = data.draw(st.one_of(st.integers(0, len(sent) - 1), st.integers(1026, 3400)))
        sent[place] = data.draw(st.integers(0, 255))
    sent = bytes(sent[: data.draw(st.one_of(st.just(len(sent)), st.integers(0, len(sent))))])
    with contextlib.suppress(UserError):
        answered(session("zero-filled"), sent)


@pytest.fixture(autouse=True, scope="module")
def stream_to_damage(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "scan.h5"
    write_mrd(path, flat_lines(make_kspace(1), thinned), (ROWS, COLUMNS, 1), COILS)
    test_a_damaged_stream_gives_images_or_a_reason.stream = streamed(path)
