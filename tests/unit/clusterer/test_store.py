"""Clusterings survive restarts, never exist in halves, and no id reaches outside the folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.errors import InternalError, InvalidInput, NotFound
from vidi_clusterer.store import ClusteringStore


@pytest.fixture
def clustering(config: clusterer_pb2.KMeansConfig) -> clusterer_pb2.Clustering:
    made = clusterer_pb2.Clustering(
        display_name="a cohort",
        kmeans=config,
        k=2,
        dimension=3,
        count=3,
        inertia=0.1 + 0.2,
        agreement=clusterer_pb2.Agreement(homogeneity=1 / 3),
        clusters=[clusterer_pb2.Cluster(index=i, size=2 - i, medoid_ids=["a"]) for i in range(2)],
        centroids=tensors.encode(np.arange(6, dtype=np.float32).reshape(2, 3) / 7),
        members=[
            clusterer_pb2.Member(id=i, cluster=c, distance=d, label=label)
            for i, c, d, label in (("ä\n", 0, 0.1, "x"), ("b", 0, 1e-300, "x"), ("c", 1, 2.5, "y"))
        ],
        backend="faiss",
    )
    made.create_time.GetCurrentTime()
    return made


def test_what_is_stored_comes_back_exactly_after_a_restart(
    tmp_path: Path, clustering: clusterer_pb2.Clustering
) -> None:
    stored = ClusteringStore(tmp_path / "deep" / "er").put(clustering)
    assert clustering.id == ""
    again = ClusteringStore(tmp_path / "deep" / "er").get(stored.id)
    assert again == stored
    clustering.id = stored.id
    assert again == clustering


def test_without_labels_members_have_none(tmp_path: Path, clustering: clusterer_pb2.Clustering) -> None:
    for member in clustering.members:
        member.label = ""
    store = ClusteringStore(tmp_path)
    assert [m.label for m in store.get(store.put(clustering).id).members] == ["", "", ""]
    assert not store.get(store.put(clustering).id, members=False).members


def test_pages_are_newest_first_and_leave_out_what_is_large(
    tmp_path: Path, clustering: clusterer_pb2.Clustering
) -> None:
    store = ClusteringStore(tmp_path)
    ids = [store.put(clustering).id for _ in range(5)]
    first, token = store.page(2)
    assert [c.id for c in first] == [ids[4], ids[3]]
    assert not first[0].clusters
    assert not first[0].members
    assert not first[0].HasField("centroids")
    assert first[0].display_name == "a cohort"
    store.delete(token)
    second, token = store.page(2, token)
    assert [c.id for c in second] == [ids[2], ids[1]]
    last, token = store.page(2, token)
    assert [c.id for c in last] == [ids[0]]
    assert token == ""
    assert store.page(4)[1] == ""
    with pytest.raises(InvalidInput):
        store.page(2, "../..")


def test_deleted_is_gone_and_the_others_stay(tmp_path: Path, clustering: clusterer_pb2.Clustering) -> None:
    store = ClusteringStore(tmp_path)
    one, other = store.put(clustering).id, store.put(clustering).id
    store.delete(one)
    assert sorted(os.listdir(tmp_path)) == [other]
    for call in (store.get, store.delete):
        with pytest.raises(NotFound):
            call(one)


@pytest.mark.parametrize(
    "trick", ["..", "../x", "/etc", "", ".", "c" * 22, "c0123456789ab-0123456g", "c0123456789ab-01234567\n", "a\0b"]
)
def test_ids_that_the_store_cannot_have_made_name_nothing(tmp_path: Path, trick: str) -> None:
    (tmp_path / "x").mkdir()
    store = ClusteringStore(tmp_path / "store")
    for call in (store.get, store.delete):
        with pytest.raises(NotFound):
            call(trick)
    assert (tmp_path / "x").is_dir()


def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, clustering: clusterer_pb2.Clustering, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ClusteringStore(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        store.put(clustering)
    assert os.listdir(tmp_path) == []


def test_what_dead_writers_left_is_never_listed_and_goes(tmp_path: Path, clustering: clusterer_pb2.Clustering) -> None:
    store = ClusteringStore(tmp_path)
    kept = store.put(clustering).id
    for name in (".new-c0123456789ab-01234567", ".old-c0123456789ab-01234567-01234567"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".new-c0123456789ab-89abcdef").mkdir()
    assert [c.id for c in store.page(10)[0]] == [kept]
    ClusteringStore(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".new-c0123456789ab-89abcdef", kept]


@pytest.mark.parametrize("name", ["clustering.json", "members.json", "arrays.npz"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_damage_is_said_as_such(tmp_path: Path, clustering: clusterer_pb2.Clustering, name: str, damage: str) -> None:
    store = ClusteringStore(tmp_path)
    clustering_id = store.put(clustering).id
    path = tmp_path / clustering_id / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:40] if damage == "truncated" else b"[1]")
    with pytest.raises(InternalError, match="damaged") as caught:
        store.get(clustering_id)
    assert str(tmp_path) not in str(caught.value)


def test_pickled_arrays_are_not_loaded(tmp_path: Path, clustering: clusterer_pb2.Clustering) -> None:
    store = ClusteringStore(tmp_path)
    clustering_id = store.put(clustering).id
    np.savez(
        tmp_path / clustering_id / "arrays.npz", centroids=np.array([{}], dtype=object), cluster=[0], distance=[0.0]
    )
    with pytest.raises(InternalError):
        store.get(clustering_id)
