"""A cluster in a dict, with as much of server-side apply as the recipes rely on: field ownership and versions."""

from __future__ import annotations

import asyncio
import copy
import itertools

from spillway.controller.objects import ref_of


def fields(value):
    """The managedFields tree of an applied value; lists count as merged whole."""
    return {f"f:{key}": fields(item) for key, item in value.items()} if isinstance(value, dict) and value else {}


class MemoryCluster:
    """What `Cluster` does, in memory. `writes` tells of every write in order; `refuse` maps a Ref to an error."""

    def __init__(self, *objects):
        self.objects = {}
        self.writes = []
        self.refuse = {}
        self.reads = 0
        self._versions = itertools.count(1)
        for obj in objects:
            self.put(obj)

    def put(self, obj):
        """Make an object as someone else would."""
        ref = ref_of(obj)
        meta = {"uid": f"uid-{ref.kind}-{ref.name}", "generation": 1, **obj["metadata"]}
        meta["resourceVersion"] = str(next(self._versions))
        self.objects[ref] = {**copy.deepcopy(obj), "metadata": meta}

    def change(self, ref, **spec):
        """Change an object's spec by force, as another field manager."""
        live = self.objects[ref]
        live["spec"] = {**live["spec"], **spec}
        live["metadata"]["resourceVersion"] = str(next(self._versions))

    def report(self, ref, **status):
        """Write an object's status, as its controller would."""
        self.objects[ref]["status"] = status
        self.objects[ref]["metadata"]["resourceVersion"] = str(next(self._versions))

    def of_kind(self, kind):
        return sorted(ref.name for ref in self.objects if ref.kind == kind)

    async def get(self, ref):
        await asyncio.sleep(0)
        self.reads += 1
        return copy.deepcopy(self.objects.get(ref))

    async def list(self, kind, namespace="", labels=None):
        await asyncio.sleep(0)
        self.reads += 1
        return [
            copy.deepcopy(obj)
            for ref, obj in self.objects.items()
            if ref.kind == kind
            and namespace in ("", ref.namespace)
            and (labels or {}).items() <= obj["metadata"].get("labels", {}).items()
        ]

    async def list_owned(self, kinds, namespace, labels):
        return tuple([obj for kind in kinds for obj in await self.list(kind, namespace, labels)])

    async def apply(self, obj):
        ref = await self._write("apply", obj)
        live = self.objects.get(ref, {})
        owned = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind", "metadata"}}
        metadata = {key: value for key, value in obj["metadata"].items() if key not in {"name", "namespace"}}
        self.put(
            {
                **live,
                **copy.deepcopy(obj),
                "metadata": {
                    **live.get("metadata", {}),
                    **copy.deepcopy(obj["metadata"]),
                    "managedFields": self._managed(live, "", fields({**owned, "metadata": metadata})),
                },
            }
        )
        return copy.deepcopy(self.objects[ref])

    async def apply_status(self, obj):
        ref = await self._write("status", obj)
        live = self.objects[ref]
        managed = self._managed(live, "status", fields({"status": obj["status"]}))
        self.put(
            {**live, "status": copy.deepcopy(obj["status"]), "metadata": {**live["metadata"], "managedFields": managed}}
        )
        return copy.deepcopy(self.objects[ref])

    async def create(self, obj):
        await self._write("create", obj)
        return obj

    async def delete(self, ref, uid=""):
        await asyncio.sleep(0)
        self.writes.append(("delete", ref.kind, ref.name))
        assert uid in ("", self.objects[ref]["metadata"]["uid"])
        self.objects.pop(ref, None)

    async def _write(self, verb, obj):
        await asyncio.sleep(0)
        ref = ref_of(obj)
        if ref in self.refuse:
            raise self.refuse[ref]
        self.writes.append((verb, ref.kind, ref.name))
        return ref

    @staticmethod
    def _managed(live, subresource, tree):
        others = [
            entry
            for entry in live.get("metadata", {}).get("managedFields", [])
            if entry.get("subresource", "") != subresource
        ]
        return [*others, {"manager": "spillway", "operation": "Apply", "subresource": subresource, "fieldsV1": tree}]
