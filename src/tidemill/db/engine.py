"""Engines and sessions. Each process's main creates one of each and closes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from tidemill.db.patience import patient_connection
from tidemill.db.statements import trace_statements
from tidemill.settings.model import DatabaseSettings

SessionFactory = async_sessionmaker[AsyncSession]


def create_engine(settings: DatabaseSettings, application_name: str) -> AsyncEngine:
    """An engine whose connections carry ``application_name`` and the statement timeout; opens nothing yet.

    One that gets no answer for longer than that is given up, as if PostgreSQL had closed it.
    """
    connection = patient_connection(settings.statement_timeout_seconds, settings.connect_timeout_seconds)
    engine = create_async_engine(
        settings.url.get_secret_value(),
        pool_size=settings.pool_size,
        max_overflow=settings.pool_overflow,
        pool_timeout=settings.connect_timeout_seconds,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # errors are logged, and values are callers' data
        connect_args={
            "async_creator_fn": connection.connect,
            "application_name": application_name,
            "connect_timeout": settings.connect_timeout_seconds,
            "options": f"-c statement_timeout={settings.statement_timeout_seconds * 1000} -c timezone=UTC",
        },
    )
    trace_statements(engine)
    return engine


def create_session_factory(engine: AsyncEngine) -> SessionFactory:
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def transaction(sessions: SessionFactory) -> AsyncIterator[AsyncSession]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    async with sessions() as session, session.begin():
        yield session


def conninfo(settings: DatabaseSettings) -> str:
    """The same database as libpq and psycopg name it."""
    return settings.url.get_secret_value().replace("postgresql+psycopg://", "postgresql://", 1)
