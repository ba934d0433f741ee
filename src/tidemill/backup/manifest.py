"""What a backup is: a manifest, written last, that names everything with its SHA-256."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidemill.kit.errors import Invalid
from tidemill.kit.hashing import sha256_of_json

FORMAT = 1
MAX_MISSING_NAMED = 1000
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Bytes = Annotated[int, Field(ge=0)]
_Version = Annotated[str, Field(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}")]
_FileName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.]*$")]
"""No way out of the folder that it is put into: whoever can write to the target can write a manifest."""


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredFile(Record):
    """A file of a backup: as it is, and as it lies in the target (encrypted, or the same)."""

    name: _FileName
    """Below the backup's own folder."""
    sha256: _Sha256
    size_bytes: _Bytes
    stored_sha256: _Sha256
    stored_size_bytes: _Bytes


class ObjectLine(Record):
    """One line of the list of objects."""

    key: str
    etag: str | None
    sha256: _Sha256
    size_bytes: _Bytes
    stored_sha256: _Sha256
    stored_size_bytes: _Bytes


class DatabaseDump(Record):
    name: Literal["tidemill", "mlflow"]
    schema_revision: str | None
    """Alembic's, of the dumped database."""
    file: StoredFile


class Versions(Record):
    """Of what made the backup."""

    tidemill: str
    mlflow: _Version
    postgresql: str


class ObjectsSummary(Record):
    list: StoredFile
    count: int
    size_bytes: int
    copied_count: int
    """Those that no earlier backup held."""
    copied_bytes: int
    vanished_count: int
    """MLflow artifacts that somebody deleted between listing and copying."""


class GoldenSummary(Record):
    file: StoredFile
    rows: int
    versions: int


class Manifest(Record):
    format: int = FORMAT
    id: str
    environment: str
    created_at: datetime
    """When the snapshot of the database was taken."""
    finished_at: datetime
    versions: Versions
    recipient: str | None
    """age recipient that everything but manifest and list of objects is encrypted for."""
    databases: list[DatabaseDump]
    objects: ObjectsSummary
    golden: GoldenSummary
    missing: Annotated[list[str], Field(max_length=MAX_MISSING_NAMED)]
    """Objects that rows named and that the store had lost already; the first thousand."""
    missing_count: int

    @model_validator(mode="after")
    def _has_each_file_once(self) -> Self:
        names = [file.name for file in self.files]
        if sorted(dump.name for dump in self.databases) != ["mlflow", "tidemill"] or len(set(names)) != len(names):
            raise ValueError("a backup has one dump of each database, and files of different names")
        return self

    @property
    def size_bytes(self) -> int:
        """Of all it names, unencrypted."""
        files = [dump.file for dump in self.databases] + [self.objects.list, self.golden.file]
        return self.objects.size_bytes + sum(file.size_bytes for file in files)

    @property
    def files(self) -> list[StoredFile]:
        return [*(dump.file for dump in self.databases), self.golden.file, self.objects.list]

    def dump_of(self, name: str) -> DatabaseDump:
        return next(dump for dump in self.databases if dump.name == name)


class DamagedBackup(Record):
    """A backup whose manifest cannot be read."""

    id: str
    damaged: str
    """Code of the error."""


class _Sealed(Record):
    """The manifest as it is written, with its own hash."""

    manifest: Manifest
    sha256: _Sha256


class _OfAnyFormat(BaseModel):
    """What a manifest of whatever format has."""

    class Head(BaseModel):
        format: int

    manifest: Head


def encode_manifest(manifest: Manifest) -> bytes:
    sha256 = sha256_of_json(manifest.model_dump(mode="json"))
    return _Sealed(manifest=manifest, sha256=sha256).model_dump_json(indent=2).encode()


def decode_manifest(data: bytes) -> Manifest:
    """Raises Invalid for anything that is not a whole, unchanged manifest of a format we read."""
    try:
        sealed = _Sealed.model_validate_json(data)
    except ValueError:
        if _format_of(data) in (FORMAT, None):
            raise Invalid("manifest_damaged", "The manifest is damaged.") from None
        raise _unknown_format() from None
    if sealed.manifest.format != FORMAT:
        raise _unknown_format()
    if sha256_of_json(sealed.manifest.model_dump(mode="json")) != sealed.sha256:
        raise Invalid("manifest_damaged", "The manifest does not have the SHA-256 that it names.")
    return sealed.manifest


def _format_of(data: bytes) -> int | None:
    try:
        return _OfAnyFormat.model_validate_json(data).manifest.format
    except ValueError:
        return None


def _unknown_format() -> Invalid:
    return Invalid(
        "manifest_format_unknown", "The manifest is of a format that this version does not read: use a newer Tidemill."
    )
