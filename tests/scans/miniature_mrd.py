"""Miniature ISMRMRD files, line by line as the format lays them down."""

from pathlib import Path

import h5py
import numpy as np

INDEX = np.dtype(
    [
        (name, "<u2")
        for name in ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast")
    ]
    + [(name, "<u2") for name in ("phase", "repetition", "set", "segment")]
    + [("user", "<u2", (8,))]
)
HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"),
        ("available_channels", "<u2"),
        ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("idx", INDEX),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
LINE = np.dtype([("head", HEAD), ("traj", h5py.vlen_dtype("<f4")), ("data", h5py.vlen_dtype("<f4"))])

XML = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <measurementInformation><patientPosition>HFS</patientPosition><protocolName>{protocol}</protocolName>
  </measurementInformation>
  <acquisitionSystemInformation><systemVendor>GE MEDICAL SYSTEMS</systemVendor>
    <systemModel>DISCOVERY MR750</systemModel><systemFieldStrength_T>3.0</systemFieldStrength_T>
    <receiverChannels>{coils}</receiverChannels></acquisitionSystemInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>127728000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>{z}</z></matrixSize>
      <fieldOfView_mm><x>{mm_x}</x><y>{y}</y><z>{z}</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>{recon_x}</x><y>{recon_y}</y><z>{z}</z></matrixSize>
      <fieldOfView_mm><x>{recon_x}</x><y>{recon_y}</y><z>{z}</z></fieldOfView_mm></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1><minimum>0</minimum><maximum>{y_max}</maximum><center>{y_center}</center>
      </kspace_encoding_step_1>
      <kspace_encoding_step_2><minimum>0</minimum><maximum>{z_max}</maximum><center>{z_center}</center>
      </kspace_encoding_step_2>
      <slice><minimum>0</minimum><maximum>{slice_max}</maximum><center>0</center></slice>
      <contrast><minimum>0</minimum><maximum>{contrast_max}</maximum><center>0</center></contrast>
{limits}
    </encodingLimits>
    <trajectory>{trajectory}</trajectory>
  </encoding>
{user}
</ismrmrdHeader>"""


def limit(name: str, maximum: int) -> str:
    """One more of the header's limits."""
    return f"<{name}><minimum>0</minimum><maximum>{maximum}</maximum><center>0</center></{name}>"


def user(**values: int) -> str:
    """User parameters of whole numbers."""
    each = (
        f"<userParameterLong><name>{name}</name><value>{value}</value></userParameterLong>"
        for name, value in values.items()
    )
    return f"<userParameters>{''.join(each)}</userParameters>"


def line(
    values: np.ndarray,
    step_1: int = 0,
    step_2: int = 0,
    flags: int = 0,
    center: int | None = None,
    **index: int,
):
    """One readout (coil, sample) as a row of one record."""
    record = np.zeros(1, dtype=LINE)
    head = record["head"]
    head["version"], head["flags"] = 1, flags
    head["active_channels"] = head["available_channels"] = values.shape[0]
    head["number_of_samples"] = values.shape[1]
    head["read_dir"], head["phase_dir"], head["slice_dir"] = np.eye(3, dtype=np.float32)
    head["center_sample"] = values.shape[1] // 2 if center is None else center
    head["idx"]["kspace_encode_step_1"], head["idx"]["kspace_encode_step_2"] = step_1, step_2
    for name, value in index.items():
        head["idx"][name] = value
    record["traj"][0] = np.zeros(0, np.float32)
    record["data"][0] = np.ascontiguousarray(values, dtype=np.complex64).view(np.float32).ravel()
    return record


def write_mrd(path: Path, lines: list, matrix: tuple[int, int, int], coils: int, **changed: object) -> Path:
    """A file `dataset/xml`, `dataset/data` of lines in the order given."""
    x, y, z = matrix
    fields = {
        "protocol": "knee 3D CUBE PD",
        "coils": coils,
        "x": x,
        "y": y,
        "z": z,
        "mm_x": x,
        "recon_x": x,
        "recon_y": y,
        "y_max": y - 1,
        "y_center": y // 2,
        "z_max": z - 1,
        "z_center": z // 2,
        "slice_max": 0,
        "contrast_max": 0,
        "limits": "",
        "user": "",
        "trajectory": "cartesian",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        xml = XML.format(**{**fields, **changed})
        group.create_dataset("xml", shape=(1,), dtype=h5py.string_dtype("ascii"))[0] = xml
        data = group.create_dataset("data", shape=(len(lines),), dtype=LINE, maxshape=(None,), chunks=(1,))
        for number, record in enumerate(lines):
            data[number : number + 1] = record
    return path
