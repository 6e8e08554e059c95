"""DICOM MR images without a patient: a derived series that a viewer opens and a registry cannot trace.

Source: DICOM PS3.3, MR Image IOD. Ours differs: attributes that would name a person or a date are empty.
Sixteen bits a pixel with one slope for the series, so slices keep their relative brightness.
"""

from pathlib import Path

import numpy as np


def write_dicom(folder: Path, images: np.ndarray, spacing_mm: tuple[float, float, float], name: str) -> None:
    """Write images (slice, row, column) as ``folder/0001.dcm`` and so on.

    The identifiers are made from the name and the pixels: the same images give the same files.
    """
    import hashlib

    from pydicom.uid import generate_uid

    folder.mkdir(parents=True)
    images = np.nan_to_num(images)
    top = float(images.max()) or 1.0
    slope = top / 65535
    pixels = np.round(images / slope).clip(0, 65535).astype("<u2")
    key = hashlib.sha256(name.encode() + pixels.tobytes()).hexdigest()
    uids = {part: generate_uid(entropy_srcs=[key, part]) for part in ("study", "series", "frame")}
    window = float(np.percentile(images, 99.5)) or top
    for number, image in enumerate(pixels):
        dataset = _dataset(
            image, number, uids, spacing_mm, slope, window, generate_uid(entropy_srcs=[key, str(number)])
        )
        dataset.save_as(folder / f"{number + 1:04d}.dcm", enforce_file_format=True)


def _dataset(image, number, uids, spacing_mm, slope, window, uid):  # type: ignore[no-untyped-def]
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    slice_mm, row_mm, column_mm = spacing_mm
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.Modality = "MR"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.Manufacturer, dataset.SeriesDescription = "reshim", "reconstruction, not for diagnosis"
    dataset.PatientName, dataset.PatientID, dataset.PatientIdentityRemoved = "anonymous", "anonymous", "YES"
    dataset.DeidentificationMethod = "no identifier was ever read"
    for empty in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"):
        setattr(dataset, empty, "")
    dataset.ReferringPhysicianName = ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uids["study"], uids["series"]
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uids["frame"], ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number + 1
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", ""
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.EchoTrainLength = "2D", "", ""
    dataset.PixelSpacing = [f"{row_mm:.6g}", f"{column_mm:.6g}"]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = f"{slice_mm:.6g}"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, f"{number * slice_mm:.6g}"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = f"{slope:.10g}", 0, "US"
    dataset.WindowCenter, dataset.WindowWidth = f"{window / 2:.8g}", f"{window:.8g}"
    dataset.PixelData = image.tobytes()
    return dataset
