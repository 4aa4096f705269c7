"""What a histogram of this process says: how many fell between which edges, and quantiles as Prometheus has them."""

from collections.abc import Sequence
from math import inf

from prometheus_client import Histogram
from prometheus_client.samples import Sample


def counts_of(histogram: Histogram) -> list[tuple[float, float]]:
    """Upper edges with how many fell at or below each, since the process began; the last edge is infinite."""
    samples: list[Sample] = [sample for family in histogram.collect() for sample in family.samples]
    found = [(float(sample.labels["le"]), sample.value) for sample in samples if sample.name.endswith("_bucket")]
    return sorted(found)


def quantile(counts: Sequence[tuple[float, float]], share: float) -> float | None:
    """Below which figure this share lies, by a straight line within its bucket as `histogram_quantile` does it; None
    where nothing was counted. What lies beyond the last finite edge is said to be there."""
    total = counts[-1][1] if counts else 0
    if not total:
        return None
    wanted, edge_before, count_before = share * total, 0.0, 0.0
    for edge, count in counts:
        if count >= wanted and count > count_before:
            if edge == inf:
                return edge_before
            return edge_before + (edge - edge_before) * (wanted - count_before) / (count - count_before)
        edge_before, count_before = edge, count
    return edge_before


def between(counts: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """How many fell into each bucket, by its upper edge."""
    before = [0.0, *(count for _, count in counts)]
    return [(edge, count - earlier) for (edge, count), earlier in zip(counts, before, strict=False)]
