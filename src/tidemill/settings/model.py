"""Every setting of every process, with its default, unit and meaning.

A setting ``database.pool_size`` is the variable ``TIDEMILL_DATABASE__POOL_SIZE``; ``..._FILE`` names a file that
holds the value instead, for secrets.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from tidemill.settings.addresses import with_password

Port = Annotated[int, Field(ge=0, le=65535)]
PositiveInt = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _with_secret_part(values: Any, url: str, password: str) -> Any:
    """The raw ``values`` of a section, with the password in the address it belongs to."""
    if not isinstance(values, dict) or values.get(password) is None or values.get(url) is None:
        return values
    address, secret = (
        value.get_secret_value() if isinstance(value, SecretStr) else value for value in (values[url], values[password])
    )
    return {**values, url: with_password(address, secret)}


class DatabaseSettings(Section):
    url: SecretStr = SecretStr("postgresql+psycopg:///tidemill")
    """SQLAlchemy address of the platform's PostgreSQL database, with the driver ``postgresql+psycopg``."""
    password: SecretStr | None = None
    """Put into ``url``, so that the address is no secret and the password can be a file of its own."""
    optuna_url: SecretStr | None = None
    """Where Optuna keeps its studies; by default the schema ``optuna`` of the platform's database."""
    pool_size: PositiveInt = 5
    """Connections kept open by one process."""
    pool_overflow: Annotated[int, Field(ge=0)] = 10
    """Connections opened above ``pool_size`` under load."""
    connect_timeout_seconds: PositiveInt = 5
    """How long to wait for a new connection."""
    statement_timeout_seconds: PositiveInt = 30
    """PostgreSQL ends a statement of the api after this time."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        return _with_secret_part(values, "url", "password")


class ObjectStoreSettings(Section):
    url: str = "file://./tidemill-data/objects"
    """``file:///directory``, ``s3://bucket/prefix`` or ``memory://``. S3 credentials come from ``AWS_*``."""
    endpoint: str | None = None
    """Address of an S3 server that is not AWS, such as ``http://minio:9000``."""
    region: str = "us-east-1"
    """Region named in S3 signatures."""
    access_key_id: SecretStr | None = None
    """S3 access key; by default ``AWS_ACCESS_KEY_ID``."""
    secret_access_key: SecretStr | None = None
    """S3 secret key; by default ``AWS_SECRET_ACCESS_KEY``."""
    timeout_seconds: Seconds = 60
    """One request to the store."""
    retries: Annotated[int, Field(ge=0)] = 4
    """How often a failed request to the store is tried again."""


class MlflowSettings(Section):
    url: str = "http://127.0.0.1:5000"
    """Address of the MLflow tracking server."""
    timeout_seconds: Seconds = 30
    """One request to MLflow."""
    token: SecretStr | None = None
    """What the platform's own processes, and Nginx, show to MLflow; the MLflow server lets its bearer do everything."""
    api_url: str = "http://127.0.0.1:8000"
    """Where the MLflow server asks about the API keys of everybody else."""
    database_url: SecretStr | None = None
    """SQLAlchemy address of MLflow's own PostgreSQL database; only for what runs, migrates or backs up MLflow."""
    database_password: SecretStr | None = None
    """Put into ``database_url``."""
    host: str = "127.0.0.1"
    """Address the MLflow server listens on."""
    port: Port = 5000
    """Port the MLflow server listens on."""
    max_artifact_bytes: PositiveInt = 20 * 2**30
    """Largest artifact that is sent to the MLflow server; as large as a model may be. Every other body has 64 MiB."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        return _with_secret_part(values, "database_url", "database_password")


class HttpSettings(Section):
    max_connections: PositiveInt = 1000
    """Open connections of one process; above it one is closed that has no request in hand, or whose caller has shown no
    key and holds the request up: the first of the address that has most of them. Lowered where the process may open
    fewer files."""
    max_header_bytes: Annotated[int, Field(ge=4096)] = 64 * 2**10
    """Request line and headers together."""
    header_seconds: Seconds = 10
    """Time for the headers of a request to arrive."""
    body_seconds: Seconds = 30
    """A request whose body brings less than 1 KiB in this time ends, unless the process itself was not reading; one
    without a key must bring all of it."""


class ApiSettings(Section):
    host: str = "127.0.0.1"
    """Address the api listens on."""
    port: Port = 8000
    """Port the api listens on."""
    max_body_bytes: PositiveInt = 16 * 2**20
    """Largest request body of every route but uploads."""
    request_memory_bytes: Annotated[int, Field(ge=2**27)] = 512 * 2**20
    """What the bodies of all requests that are being answered may take together, estimated before it is taken; each one
    at most half, which the largest shipment of a ledger fits. Uploads go through piece by piece and are not counted."""
    max_upload_bytes: PositiveInt = 50 * 2**30
    """Largest file of a dataset upload."""
    max_uploads: PositiveInt = 32
    """Files that one process of the api takes in at once, from one API key at most half of them."""
    max_queued_jobs_per_key: PositiveInt = 1000
    """Jobs of one API key that may wait for a worker; above it no more are taken from that key."""


class ModelServerSettings(Section):
    host: str = "127.0.0.1"
    """Address the model server listens on."""
    port: Port = 8001
    """Port the model server listens on."""
    api_url: str = "http://127.0.0.1:8000"
    """Where the model server learns what to serve and ships its ledger to."""
    key: SecretStr | None = None
    """API key of the model server, with the scope ``serving``."""
    state_dir: Path = Path("tidemill-data/model-server")
    """Local disk for models, the last known deployments and the ledger's write-ahead files."""
    state_slots: Annotated[int, Field(ge=0, le=256)] = 0
    """Model servers that may share ``state_dir``: each claims a folder in it, and ships what a vanished one left
    behind. 0: the folder is this server's alone."""
    refresh_seconds: Seconds = 1
    """How often deployments and keys are asked for."""
    ship_seconds: Seconds = 0.5
    """How often the ledger is shipped."""
    max_body_bytes: PositiveInt = 64 * 2**20
    """Largest request body."""
    max_rows: PositiveInt = 100_000
    """Most rows in one prediction request."""
    request_memory_bytes: Annotated[int, Field(ge=2**26)] = 1536 * 2**20
    """What all requests that are being answered may take together, estimated before it is taken; each one at most half.
    The process takes its libraries and models beside it."""
    predict_timeout_seconds: Seconds = 60
    """Longest one prediction request may take in the model."""
    ledger_max_bytes: PositiveInt = 10 * 2**30
    """Predictions are refused rather than lost once this many unshipped bytes wait on disk."""
    ledger_sync: bool = True
    """Wait for the disk (fdatasync) before a prediction is answered."""
    threads: PositiveInt = 1
    """Threads that run models side by side."""
    model_memory_bytes: PositiveInt = 4 * 2**30
    """Most resident memory of a foreign model's own process; above it the process is replaced."""
    model_disk_bytes: PositiveInt = 2**30
    """Most that such a process may write to its own temporary directory."""


class WorkerSettings(Section):
    port: Port = 8002
    """Port of the worker's ``/metrics`` and health routes."""
    host: str = "127.0.0.1"
    """Address of the worker's ``/metrics`` and health routes."""
    queues: tuple[str, ...] = ()
    """Queues this worker takes jobs from; all when empty."""
    concurrency: PositiveInt = 2
    """Jobs of any kind run side by side."""
    short_concurrency: Annotated[int, Field(ge=0)] = 1
    """Jobs run beside those, of every kind but trainings, so that a push does not wait until a training ends."""
    memory_limit_bytes: PositiveInt = 4 * 2**30
    """Most resident memory of one job's child processes together; above it the job fails."""
    disk_limit_bytes: PositiveInt = 100 * 2**30
    """Most that one job's child may write to disk, and never more than half of what is free when it starts."""
    cpu_threads: PositiveInt = 2
    """Threads each computing child may use."""
    report_rows: Annotated[int, Field(ge=1000)] = 1_000_000
    """Predictions up to which a monitoring report reads every one; of more it reads samples, labelled rows first."""
    scratch_dir: Path | None = None
    """Where jobs put temporary files; by default a folder of the system's temporary directory."""
    heartbeat_seconds: Seconds = 2
    """How often a worker says that it is alive."""
    stalled_after_seconds: Seconds = 10
    """A worker silent for this long has lost its jobs to the others."""
    max_attempts: PositiveInt = 3
    """A job that lost its worker or its computing child this often fails for good."""
    max_retries: Annotated[int, Field(ge=0)] = 8
    """How often a job is tried again that failed for a passing reason, such as a server that was away."""
    store_patience_hours: PositiveInt = 168
    """How long after it was made a job is still tried again because the object store is away, refuses or is not the
    platform's (``max_retries`` counts no such attempt); at least every five minutes."""
    retry_backoff_seconds: Seconds = 2
    """Wait before the first retry; doubled for each further one, at most five minutes."""
    termination_grace_seconds: Seconds = 5
    """Time a computing child has to end after SIGTERM before it is killed."""
    database_patience_seconds: Seconds = 40
    """A worker without PostgreSQL for this long exits, so that its supervisor starts it afresh."""


class SandboxSettings(Section):
    allow_unconfined: bool = False
    """Run models that bring code of their own also where the kernel cannot confine them (Linux before 6.12, others):
    such code can then read whatever the worker and the model server can."""


Days = Annotated[int, Field(ge=1, le=36_500)]
"""Up to a hundred years: what lies further back is no moment of any calendar."""


class RetentionSettings(Section):
    jobs_days: Days = 90
    """How long jobs are kept after they ended; what they made is kept."""
    job_logs_days: Days = 30
    """How long the log lines of a job are kept after it ended; never longer than the job."""
    studies_days: Days = 14
    """How long Optuna's study of a training is kept after its job ended; never longer than the job."""
    model_servers_days: Days = 7
    """How long the last report of a model server that fell silent is kept."""
    queue_days: Days = 7
    """How long finished entries of the queue are kept, where any were left behind."""


class ObservabilitySettings(Section):
    figures_seconds: Annotated[float, Field(ge=1)] = 15
    """How often the api reads the platform's figures (backlog, verdicts, what it depends on) for ``/metrics``."""
    metrics_to: Literal["anyone", "this_machine"] = "anyone"
    """Who may read ``/metrics``, which needs no key. `tidemill up` shows it to its own machine alone."""
    tls_address: Annotated[str | None, Field(pattern=r"^[^:\s]+:[0-9]+$")] = None
    """``host:port`` of the platform's own TLS server, whose certificate's expiry the api then shows."""


class EdgeSettings(Section):
    drain_seconds: Annotated[float, Field(ge=0)] = 0
    """How long a process that was told to stop goes on answering on connections that a proxy keeps open. Behind Nginx:
    longer than Nginx keeps idle ones (4 s); without a proxy 0."""


class SessionSettings(Section):
    lifetime_seconds: PositiveInt = 12 * 3600
    """A session of the sign-in page ends after this time at the latest."""
    idle_seconds: PositiveInt = 3600
    """It ends earlier when nothing was asked with it for this long."""
    most_per_key: PositiveInt = 20
    """Sessions of one API key; the oldest ends when another begins."""


class BackupSettings(ObjectStoreSettings):
    url: str = ""
    """Where backups go: ``file:///directory`` or ``s3://bucket/prefix``, of this stack alone."""
    recipient: str | None = None
    """age recipient (``age1...``) to encrypt for; by default that of the identity, and no encryption without either."""
    identity: SecretStr | None = None
    """age identity (``AGE-SECRET-KEY-...``): needed where backups are restored or drilled, not where they are made."""
    drill_database_url: SecretStr | None = None
    """A database of the server that drills make their databases on; by default ``database.url``."""
    programs_dir: Path | None = None
    """Folder of ``pg_dump`` and ``pg_restore``; by default those of the embedded PostgreSQL, else those on PATH."""
    scratch_dir: Path | None = None
    """Room for a dump and for the largest object, twice when encrypted; by default the system's temporary directory."""
    keep_last: PositiveInt = 3
    """The newest backups are kept, however old."""
    keep_days: Annotated[int, Field(ge=0)] = 7
    """For so many days with backups the last one of each is kept."""
    keep_weeks: Annotated[int, Field(ge=0)] = 5
    """For so many weeks with backups the last one of each is kept."""
    golden_rows: Annotated[int, Field(ge=0, le=1000)] = 20
    """Recent predictions that a backup keeps of each served model version, for the drill to repeat."""
    every_hours: Seconds = 24
    """How often `tidemill admin backup-schedule` makes a backup."""
    at: Annotated[str | None, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = None
    """Time of day (``HH:MM``, UTC) for a backup a day, instead of ``every_hours``."""
    drill_every_hours: Annotated[float, Field(ge=0)] = 168
    """How often `tidemill admin backup-schedule` drills the restore; 0 for never."""
    host: str = "127.0.0.1"
    """Address of the metrics and health routes of `tidemill admin backup-schedule`."""
    port: Port = 8003
    """Port of the metrics and health routes of `tidemill admin backup-schedule`."""


class Settings(Section):
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,15}$")] = "local"
    """Name of this stack; part of its API keys, logs and metrics."""
    data_dir: Path = Path("tidemill-data")
    """Where ``tidemill up`` keeps everything."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log lines that are written."""
    database: DatabaseSettings = DatabaseSettings()
    object_store: ObjectStoreSettings = ObjectStoreSettings()
    mlflow: MlflowSettings = MlflowSettings()
    http: HttpSettings = HttpSettings()
    api: ApiSettings = ApiSettings()
    model_server: ModelServerSettings = ModelServerSettings()
    worker: WorkerSettings = WorkerSettings()
    sandbox: SandboxSettings = SandboxSettings()
    retention: RetentionSettings = RetentionSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    edge: EdgeSettings = EdgeSettings()
    session: SessionSettings = SessionSettings()
    backup: BackupSettings = BackupSettings()
