"""Clusterings on disk: one directory each, whole or absent.

    <store>/<id>/clustering.json   the Clustering without centroids and members, and the store's format
                 members.json      ids and labels of the members
                 arrays.npz        centroids float32 (k, d), cluster int32 (n,), distance float64 (n,); never pickled

A clustering is written to a directory of another name, synced, and renamed: a crash leaves no half of one.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from google.protobuf import json_format

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.errors import InternalError, InvalidInput, NotFound

FORMAT = 1
META, MEMBERS, ARRAYS = "clustering.json", "members.json", "arrays.npz"

#: Leftovers of writers that died are removed after so many seconds; a living one is done long before.
STALE_SECONDS = 3600.0

_ID = re.compile(r"c[0-9a-f]{12}-[0-9a-f]{8}")
_UNFINISHED = ".new-"
_DELETED = ".old-"


class ClusteringStore:
    """Clusterings in a folder. Thread-safe; several processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        """Open the store, made if missing; what writers that died left behind is removed."""
        self._folder = folder
        self._lock = threading.Lock()
        self._last = 0
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if entry.name.startswith((_UNFINISHED, _DELETED)) and time.time() - entry.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)

    def put(self, clustering: clusterer_pb2.Clustering) -> clusterer_pb2.Clustering:
        """Store a clustering durably under a new id and return it with its id; the one given stays as it was."""
        stored = clusterer_pb2.Clustering()
        stored.CopyFrom(clustering)
        stored.id = self._new_id()
        temporary = self._folder / f"{_UNFINISHED}{stored.id}"
        temporary.mkdir()
        try:
            self._write(temporary, stored)
            _sync(temporary)
            temporary.rename(self._folder / stored.id)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync(self._folder)
        return stored

    def get(self, clustering_id: str, *, members: bool = True) -> clusterer_pb2.Clustering:
        """Return a clustering with its centroids and, unless told otherwise, its members.

        Raises
        ------
        NotFound
            When there is none of this id (whatever the id looks like).
        InternalError
            When its files are damaged.
        """
        folder = self._path(clustering_id)
        try:
            clustering = self._read_meta(folder)
            with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
                clustering.centroids.CopyFrom(tensors.encode(arrays["centroids"]))
                if members:
                    named = json.loads((folder / MEMBERS).read_text("utf-8"))
                    labels = named["labels"] or [""] * len(named["ids"])
                    clustering.members.extend(
                        clusterer_pb2.Member(id=i, cluster=int(c), distance=float(d), label=label)
                        for i, c, d, label in zip(
                            named["ids"], arrays["cluster"], arrays["distance"], labels, strict=True
                        )
                    )
        except FileNotFoundError as error:
            if not folder.is_dir():
                raise NotFound("clustering", clustering_id) from None
            raise _damaged(clustering_id) from error
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, json_format.ParseError) as error:
            raise _damaged(clustering_id) from error
        return clustering

    def page(self, size: int, token: str = "") -> tuple[list[clusterer_pb2.Clustering], str]:
        """Return up to `size` clusterings, newest first, without clusters, centroids and members, and the next token.

        The token names the last clustering of the page before; that one may be deleted meanwhile.

        Raises
        ------
        InvalidInput
            When the token is none of ours.
        """
        if token and not _ID.fullmatch(token):
            raise InvalidInput("page_token is not one that this server gave", field="page_token")
        ids = sorted((e.name for e in self._folder.iterdir() if _ID.fullmatch(e.name)), reverse=True)
        ids = [i for i in ids if not token or i < token]
        page = []
        for clustering_id in ids[:size]:
            try:
                clustering = self._read_meta(self._folder / clustering_id)
            except FileNotFoundError:
                continue  # deleted meanwhile
            except (OSError, ValueError, KeyError, TypeError, json_format.ParseError) as error:
                raise _damaged(clustering_id) from error
            del clustering.clusters[:]
            page.append(clustering)
        return page, ids[size - 1] if len(ids) > size else ""

    def delete(self, clustering_id: str) -> None:
        """Delete a clustering.

        Raises
        ------
        NotFound
            When there is none of this id.
        """
        removed = self._folder / f"{_DELETED}{clustering_id}-{secrets.token_hex(4)}"
        try:
            self._path(clustering_id).rename(removed)
        except FileNotFoundError:
            raise NotFound("clustering", clustering_id) from None
        _sync(self._folder)
        shutil.rmtree(removed, ignore_errors=True)

    def _path(self, clustering_id: str) -> Path:
        """Folder of an id. An id that this store cannot have made names nothing, so no path can be smuggled in."""
        if not _ID.fullmatch(clustering_id):
            raise NotFound("clustering", clustering_id)
        return self._folder / clustering_id

    def _new_id(self) -> str:
        """An id that sorts by time (milliseconds), later than every one that this process made before."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1_000_000)
            return f"c{self._last:012x}-{secrets.token_hex(4)}"

    @staticmethod
    def _write(folder: Path, clustering: clusterer_pb2.Clustering) -> None:
        meta = clusterer_pb2.Clustering()
        meta.CopyFrom(clustering)
        meta.ClearField("centroids")
        meta.ClearField("members")
        members: Sequence[clusterer_pb2.Member] = clustering.members
        labels = [m.label for m in members] if any(m.label for m in members) else []
        document = {"format": FORMAT, "clustering": json_format.MessageToDict(meta, preserving_proto_field_name=True)}
        (folder / META).write_text(json.dumps(document, indent=1), "utf-8")
        (folder / MEMBERS).write_text(json.dumps({"ids": [m.id for m in members], "labels": labels}), "utf-8")
        np.savez(
            folder / ARRAYS,
            centroids=tensors.decode(clustering.centroids),
            cluster=np.array([m.cluster for m in members], np.int32),
            distance=np.array([m.distance for m in members], np.float64),
        )
        for name in (META, MEMBERS, ARRAYS):
            _sync(folder / name)

    @staticmethod
    def _read_meta(folder: Path) -> clusterer_pb2.Clustering:
        document = json.loads((folder / META).read_text("utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']} of another version")
        clustering: clusterer_pb2.Clustering = json_format.ParseDict(
            document["clustering"], clusterer_pb2.Clustering(), ignore_unknown_fields=True
        )
        if clustering.id != folder.name:
            raise ValueError("a clustering under another's name")
        return clustering


def _damaged(clustering_id: str) -> InternalError:
    return InternalError(f"the files of clustering {clustering_id} are damaged", reason="CLUSTERING_DAMAGED")


def _sync(path: Path) -> None:
    """Make a file's content, or a directory's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
