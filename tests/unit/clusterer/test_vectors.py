"""The stream's vectors: checked as they come, bounded over all calls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.errors import Exhausted, InvalidInput, InvalidTensor
from vidi_clusterer.vectors import Budget, Collector

MakeBatch = Callable[..., clusterer_pb2.VectorBatch]


def collect(*batches: clusterer_pb2.VectorBatch) -> object:
    with Collector(Budget(1 << 20)) as collector:
        for batch in batches:
            collector.add(batch)
        return collector.finish()


def test_batches_are_joined_in_order(batch: MakeBatch) -> None:
    with Collector(Budget(1 << 20)) as collector:
        collector.add(batch(4, dtype="float64"))
        collector.add(batch(2, start=4, dtype="float16"))
        data = collector.finish()
    assert data.ids == ("v0", "v1", "v2", "v3", "v4", "v5")
    assert data.vectors.shape == (6, 8)
    assert data.vectors.dtype == np.float32
    np.testing.assert_array_equal(data.vectors[4:], tensors.decode(batch(2, start=4, dtype="float16").vectors))
    assert data.labels is not None
    assert data.labels[1] == "group 1"


def test_no_labels_at_all_are_none(batch: MakeBatch) -> None:
    with Collector(Budget(1 << 20)) as collector:
        collector.add(batch(3, labelled=False))
        assert collector.finish().labels is None


@pytest.mark.parametrize("first", [True, False])
def test_labels_for_some_batches_only_are_refused(batch: MakeBatch, first: bool) -> None:
    with pytest.raises(InvalidInput, match="all or none"):
        collect(batch(3, labelled=first), batch(3, start=3, labelled=not first))


def test_labels_for_some_vectors_only_are_refused(batch: MakeBatch) -> None:
    short, blank = batch(3), batch(3)
    short.labels.pop()
    blank.labels[1] = ""
    for wrong in (short, blank):
        with pytest.raises(InvalidInput, match="label"):
            collect(wrong)


def test_an_id_twice_is_refused_without_repeating_it(batch: MakeBatch) -> None:
    twice = batch(3)
    twice.ids[2] = twice.ids[0]
    for batches in ([twice], [batch(3), batch(3)]):
        with pytest.raises(InvalidInput, match="came before") as caught:
            collect(*batches)
        assert "v0" not in str(caught.value)


def test_other_dimensions_counts_and_dtypes_are_refused(batch: MakeBatch) -> None:
    with pytest.raises(InvalidInput, match="dimension 5 among others of dimension 8"):
        collect(batch(3), batch(3, 5, start=3))
    fewer = batch(3)
    del fewer.ids[0]
    with pytest.raises(InvalidInput, match="2 entries for 3 vectors"):
        collect(fewer)
    with pytest.raises(InvalidTensor):
        collect(batch(3, dtype="int32"))
    with pytest.raises(InvalidInput, match="no vectors"):
        collect()


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e200])
def test_values_that_are_no_finite_float32_are_refused(batch: MakeBatch, bad: float) -> None:
    wrong = batch(3)
    vectors = np.zeros((3, 8))
    vectors[1, 1] = bad
    wrong.vectors.CopyFrom(tensors.encode(vectors))
    with pytest.raises(InvalidTensor):
        collect(wrong)


def test_a_shape_that_lies_about_its_size_is_refused_as_such(batch: MakeBatch) -> None:
    wrong = batch(3)
    wrong.vectors.shape[1] = 1 << 30
    with pytest.raises(InvalidTensor, match="bytes where shape"):
        collect(wrong)


def test_the_budget_is_shared_and_given_back(batch: MakeBatch) -> None:
    budget = Budget(3 * 8 * 4 * 2)
    with Collector(budget) as one, Collector(budget) as other:
        one.add(batch(3))
        other.add(batch(3))
        with pytest.raises(Exhausted):
            one.add(batch(1, start=3))
    assert budget.used == 0
    with pytest.raises(Exhausted, match="this call alone"), Collector(budget) as big:
        big.add(batch(7))
    assert budget.used == 0
