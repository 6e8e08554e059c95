"""What the metrics, regions and references of the rows are: the cards at the end of a page."""

from dataclasses import dataclass

from reshim.evaluation.quantities import lower_is_better


@dataclass(frozen=True)
class Meaning:
    """What a metric is."""

    definition: str
    data_range: str = ""
    """What a value is scaled by, where the metric asks for it."""

    better: str = ""
    """What a good value is, where neither a high nor a low one is."""


PEAK = "data range: maximum of the cropped reference over the volume"

METRICS = {
    "ssim": Meaning(
        "Structural similarity: 7×7 uniform window, k1 0.01, k2 0.03, sample covariance, valid windows.", PEAK
    ),
    "psnr": Meaning("10 log10(range² / mean squared error), in decibel.", PEAK),
    "nmse": Meaning("Squared error norm over squared reference norm.", "needs no data range"),
    "dice": Meaning(
        "Twice the voxels that outline and truth share over the voxels of both; subjects with nothing to "
        "outline have none.",
        "0 to 1",
    ),
    "pearson": Meaning(
        "Pearson's correlation over scans, subjects alike; a row holds the product of a scan's standard "
        "scores.",
        "−1 to 1",
        "neither",
    ),
    "spearman": Meaning(
        "Spearman's rank correlation over scans, subjects alike; a row holds the product of a scan's "
        "standardised ranks.",
        "−1 to 1",
        "neither",
    ),
    "similarity": Meaning(
        "Cosine of a test image's features and those of the training image nearest to it, standardised over "
        "all training images.",
        "−1 to 1",
        "neither",
    ),
    "fidelity": Meaning(
        "1 − |d − p| / |p| in the window of an inserted feature: d the difference that it makes in the "
        "method's image, p the true one. 1 is all of it, 0 no better than not showing it.",
        "at most 1",
    ),
    "recovery": Meaning(
        "⟨d, p⟩ / ⟨p, p⟩ in the window of an inserted feature: the share of its contrast that is shown.",
        better="nearer to 1",
    ),
    "false": Meaning(
        "|d| outside the window of an inserted feature over |p|: what it changes elsewhere in the image."
    ),
    "block_mse": Meaning(
        "Mean squared error of the window of an inserted feature, image and reference standardised in it "
        "first: the published score."
    ),
    "mae_ssim": Meaning("Absolute distance of predicted from true SSIM."),
    "mae_spread": Meaning(
        "Deviation of the relaxation rate over realisations of the noise, median in the body, in 1/s."
    ),
    "mae_rate": Meaning(
        "Absolute distance of the relaxation rate from that of the full scan, median in the body, in 1/s."
    ),
    "placement": Meaning(
        "Share of usual scans that score below a shifted one, ties half; its mean is the area under the ROC "
        "curve.",
        "0 to 1",
    ),
    "covered": Meaning("Whether the 90 % interval of predicted SSIM holds the true one.", better="near 0.9"),
    "width": Meaning("Width of the 90 % interval of predicted SSIM."),
    "unknown": Meaning("Whether the alarm says that it does not know what SSIM to expect.", better="neither"),
    "loses more than 0.002": Meaning(
        "Whether a slice has lost more than 0.002 SSIM to the network as it is."
    ),
    "loses more than 0.01": Meaning("Whether a slice has lost more than 0.01 SSIM to the network as it is."),
    "let through of the gains": Meaning(
        "Of the slices that gain without the guard, whether the slice gains with it."
    ),
    "handed out with the gain": Meaning(
        "Of the slices that gain without the guard, whether what is handed out, fitted or reconciled, gains "
        "too."
    ),
    "let through of what fitting gains over reconciling": Meaning(
        "Of the slices that fitting makes better than reconciling alone, whether the fit was taken."
    ),
    "let through of what reconciling gains": Meaning(
        "Of the slices that gain by reconciling, whether the slice gains by auto."
    ),
    "seconds to the reference's SSIM": Meaning(
        "Seconds to the first look that is as good as where the reference algorithm ends; a slice that is "
        "never as good counts with ten times its whole."
    ),
    "seconds a slice": Meaning("Seconds of a reconstruction, fits included, over the slices of its volume."),
    "seconds to its end": Meaning("Seconds until the method stops by itself."),
    "reaches the reference's SSIM": Meaning("Whether a slice is ever as good as the reference's end."),
    "SSIM where it stopped": Meaning("SSIM of the image that the method hands out.", PEAK),
    "SSIM at its best look": Meaning("SSIM of the best image on the way, which nobody could choose.", PEAK),
}

SUFFIXES = {
    "matched": " After matching the image's mean and deviation to the reference, slice by slice.",
    "volume": " Pooled over the volume, as fastMRI does.",
}

REGIONS = {
    "all": "whole cropped image",
    "support": "where the 7×7 mean of the reference exceeds 5 % of its volume maximum",
    "box": "annotated boxes",
    "box-small": "annotated boxes of up to 1 % of the image",
    "box-large": "annotated boxes of more than 1 % of the image",
    "feature": "an inserted feature with two pixels around it (“false”: all but that)",
    "lesion": "what is to be outlined",
}
TARGETS = {
    "mvue": "coils combined with maps of the full k-space, which no method sees",
    "rss": "root sum of squares of the full k-space",
    "clean": "simulated truth without noise",
    "full": "the stored scan, its coils compressed and combined with maps of its full k-space",
    "segmentation": "the outline that comes with the scan",
}


def meaning_of(metric: str) -> Meaning | None:
    """What a metric is, whatever suffix it carries (``_matched``, ``_volume``, ``-efficientnet``)."""
    if metric in METRICS:
        return METRICS[metric]
    stem, _, suffix = metric.partition("_")
    return METRICS.get(stem) if suffix in SUFFIXES else METRICS.get(metric.partition("-")[0])


def explained(metric: str) -> dict[str, str]:
    """A metric's card: what is better, its definition with what its suffix adds, its data range."""
    meaning = meaning_of(metric) or Meaning("Defined by whoever wrote the rows.")
    suffix = "" if metric in METRICS else metric.partition("_")[2]
    return {
        "better": better(metric),
        "definition": meaning.definition + SUFFIXES.get(suffix, ""),
        "range": meaning.data_range,
    }


def aim(metric: str) -> str:
    """The same as a phrase: `higher is better`."""
    words = better(metric)
    return "neither high nor low is better" if words == "neither" else f"{words} is better"


def better(metric: str) -> str:
    """What a good value of a metric is: `higher`, `lower`, or in words."""
    meaning = meaning_of(metric)
    if meaning is not None and meaning.better:
        return meaning.better
    return "lower" if lower_is_better(metric) else "higher"
