"""The stand-in's data sets, blobs and notebooks ("kernels")."""

from dataclasses import dataclass, field
from typing import Any

from standin_storage import Ask, Refused, Route, Storage


@dataclass
class Dataset:
    title: str
    is_private: bool
    versions: list[list[tuple[str, bytes]]] = field(default_factory=list)  # of each version: (file name, content)
    notes: list[str] = field(default_factory=list)  # of each version
    waiting: list[str] = field(default_factory=list)  # statuses still to be shown before READY


class Notebooks(Storage):
    user: str
    competition: str

    def __init__(self) -> None:
        super().__init__()
        self.datasets: dict[str, Dataset] = {}  # "owner/slug"
        self.dataset_polls: list[str] = []  # statuses that a new version goes through, such as NOT_YET_PERSISTED
        self.kernels: list[dict[str, Any]] = []  # SaveKernel's requests, each with its versionNumber
        self.kernel_polls: list[str] = ["QUEUED", "RUNNING"]  # statuses that a new version goes through
        self.kernel_error = ""  # not empty: it ends as ERROR with this failure message
        self.kernel_log = ""
        self.kernel_push_error = ""  # not empty: SaveKernel answers 200 with it and does nothing
        self.kernel_output: dict[str, bytes] = {}
        self._kernel_waiting: dict[str, list[str]] = {}

    def notebook_routes(self) -> dict[str, Route]:
        return {
            "StartBlobUpload": lambda ask: self.start_upload(ask, ask["name"]),
            "GetDatasetStatus": self._get_dataset_status,
            "GetDataset": self._get_dataset,
            "CreateDataset": self._create_dataset,
            "CreateDatasetVersion": self._create_dataset_version,
            "SaveKernel": self._save_kernel,
            "GetKernelSessionStatus": self._get_kernel_session_status,
            "ListKernelSessionOutput": self._list_kernel_session_output,
        }

    def find_object(self, path: str) -> bytes | None:
        bucket, _, name = path.partition("/")
        return self.kernel_output.get(name) if bucket == "kernel" else super().find_object(path)

    def kernel_version(self, ref: str, version: int) -> dict[str, Any] | None:
        """A pushed version; 0: the newest."""
        found = [row for row in self.kernels if row["slug"] == ref and version in (0, row["versionNumber"])]
        return found[-1] if found else None

    def _dataset(self, ask: Ask) -> tuple[str, Dataset]:
        ref = f"{ask['ownerSlug']}/{ask['datasetSlug']}"
        if ref not in self.datasets:
            raise Refused(404, f"Dataset not found: {ref}")
        return ref, self.datasets[ref]

    def _get_dataset_status(self, ask: Ask) -> dict[str, Any]:
        _, dataset = self._dataset(ask)
        with self.lock:
            return {"status": dataset.waiting.pop(0) if dataset.waiting else "READY"}

    def _get_dataset(self, ask: Ask) -> dict[str, Any]:
        ref, dataset = self._dataset(ask)
        total = sum(len(body) for _, body in dataset.versions[-1])
        return {
            "id": 1,
            "ref": ref,
            "title": dataset.title,
            "isPrivate": dataset.is_private,
            "totalBytes": total,
            "currentVersionNumber": len(dataset.versions),
        }

    def _create_dataset(self, ask: Ask) -> dict[str, Any]:
        ref = f"{ask['ownerSlug']}/{ask['slug']}"
        if ask["ownerSlug"] != self.user:
            raise Refused(403, "Permission 'datasets.create' was denied")
        if ref in self.datasets:
            message = f'The requested title "{ask["title"]}" is already in use by a dataset.'
            return {"status": "error", "error": message}
        # The client leaves default values out: no isPrivate means public.
        dataset = Dataset(ask["title"], is_private=bool(ask["isPrivate"]))
        return self._add_version(ref, dataset, ask["files"] or [], "Initial release")

    def _create_dataset_version(self, ask: Ask) -> dict[str, Any]:
        ref, dataset = self._dataset(ask)
        if ask["ownerSlug"] != self.user:
            raise Refused(403, "Permission 'datasets.update' was denied")
        body = ask["body"] or {}
        return self._add_version(ref, dataset, body.get("files", []), body.get("versionNotes", ""))

    def _add_version(self, ref: str, dataset: Dataset, files: list[dict[str, Any]], note: str) -> dict[str, Any]:
        uploads = [self.uploaded(file["token"]) for file in files]
        if not uploads:
            return {"status": "error", "error": "At least one file must be specified."}
        with self.lock:
            dataset.versions.append([(upload.name, bytes(upload.data)) for upload in uploads])
            dataset.notes.append(note)
            dataset.waiting = list(self.dataset_polls)
            self.datasets[ref] = dataset
        return {"ref": f"/{ref}", "url": f"https://www.kaggle.com/datasets/{ref}", "status": "ok"}

    def _save_kernel(self, ask: Ask) -> dict[str, Any]:
        if self.kernel_push_error:
            return {"error": self.kernel_push_error}
        ref = ask["slug"]
        if ref.partition("/")[0] != self.user:
            raise Refused(403, "Permission 'kernels.update' was denied")
        with self.lock:
            version = 1 + sum(row["slug"] == ref for row in self.kernels)
            self.kernels.append({**ask.body, "versionNumber": version})
            self._kernel_waiting[ref] = list(self.kernel_polls)
        return {
            "ref": f"/code/{ref}",
            "url": f"https://www.kaggle.com/code/{ref}",
            "versionNumber": version,
            "error": "",
            "invalidCompetitionSources": [c for c in ask["competitionDataSources"] or [] if c != self.competition],
            "invalidDatasetSources": [d for d in ask["datasetDataSources"] or [] if d not in self.datasets],
        }

    def _kernel(self, ask: Ask) -> str:
        ref = f"{ask['userName']}/{ask['kernelSlug']}"
        if self.kernel_version(ref, 0) is None:
            raise Refused(403, "Permission 'kernels.get' was denied")
        return ref

    def _get_kernel_session_status(self, ask: Ask) -> dict[str, Any]:
        ref = self._kernel(ask)
        with self.lock:
            if waiting := self._kernel_waiting.get(ref):
                return {"status": waiting.pop(0)}
        if self.kernel_error:
            return {"status": "ERROR", "failureMessage": self.kernel_error}
        return {"status": "COMPLETE"}

    def _list_kernel_session_output(self, ask: Ask) -> dict[str, Any]:
        self._kernel(ask)
        files = [{"fileName": name, "url": self.signed(ask, f"kernel/{name}")} for name in self.kernel_output]
        return {"files": files, "log": self.kernel_log, "nextPageToken": ""}
