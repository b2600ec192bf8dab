"""Datasets as people look at them: the first samples and what manifests say, as models that pages show."""

from atdata.preview.background import Background
from atdata.preview.published import FetchLimits, PublishedPreview, preview_published, reason_against
from atdata.preview.reading import preview_of, size_of, statistics_of_dataset, why
from atdata.preview.section import PreviewSection
from atdata.preview.shown import Preview, PreviewLimits, ShownPicture, ShownSample, ShownValue
from atdata.preview.statistics import DatasetStatistics, statistics_of
from atdata.preview.values import SampleShower

__all__ = [
    "Background",
    "DatasetStatistics",
    "FetchLimits",
    "Preview",
    "PreviewLimits",
    "PreviewSection",
    "PublishedPreview",
    "SampleShower",
    "ShownPicture",
    "ShownSample",
    "ShownValue",
    "preview_of",
    "preview_published",
    "reason_against",
    "size_of",
    "statistics_of",
    "statistics_of_dataset",
    "why",
]
