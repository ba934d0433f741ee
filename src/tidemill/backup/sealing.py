"""Encryption in age's format, file to file in bounded memory. Making backups needs the public recipient only."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pyrage

from tidemill.kit.errors import Invalid, Refused
from tidemill.kit.hashing import sha256_of_file
from tidemill.settings.model import BackupSettings

_IDENTITY_BEGINS = "AGE-SECRET-KEY-"


@dataclass(frozen=True)
class Keys:
    """The recipient to encrypt for and the identity to decrypt with, each where it is known."""

    recipient: pyrage.x25519.Recipient | None
    identity: pyrage.x25519.Identity | None

    @property
    def recipient_text(self) -> str | None:
        return None if self.recipient is None else str(self.recipient)

    def seal(self, source: Path, target: Path) -> Path:
        """Encrypt ``source`` to ``target``; without a recipient the source itself is what is stored."""
        if self.recipient is None:
            return source
        pyrage.encrypt_file(str(source), str(target), [self.recipient])
        return target

    def unseal(self, source: Path, target: Path, recipient: str | None) -> None:
        """Turn a stored file, encrypted for ``recipient`` or not, into what it was. Raises Invalid or Refused."""
        if recipient is None:
            shutil.move(source, target)
            return
        self.require(recipient)
        try:
            pyrage.decrypt_file(str(source), str(target), [self.identity])
        except pyrage.DecryptError:
            raise Invalid("backup_undecryptable", "A file of the backup cannot be decrypted: it is damaged.") from None

    def require(self, recipient: str | None) -> None:
        """Raises Refused unless what was encrypted for ``recipient`` can be read."""
        if recipient is None:
            return
        if self.identity is None:
            raise Refused("backup_key_missing", "The backup is encrypted: set TIDEMILL_BACKUP__IDENTITY_FILE.")
        if str(self.identity.to_public()) != recipient:
            raise Refused("backup_key_wrong", f"The backup is encrypted for {recipient}; the identity is another one.")


def read_keys(settings: BackupSettings) -> Keys:
    """Raises Invalid for a recipient or identity that is none."""
    identity = None
    if settings.identity is not None:
        identity = _identity(settings.identity.get_secret_value())
    if settings.recipient is None:
        return Keys(identity.to_public() if identity else None, identity)
    try:
        return Keys(pyrage.x25519.Recipient.from_str(settings.recipient), identity)
    except pyrage.RecipientError:
        raise Invalid("backup_recipient_invalid", "backup.recipient is no age recipient (age1...).") from None


def new_identity() -> tuple[str, str]:
    """A new identity, to be kept secret, and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def _identity(text: str) -> pyrage.x25519.Identity:
    """Of the text of an identity file as ``age-keygen`` writes it: comments, then one identity."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(_IDENTITY_BEGINS)]
    if len(lines) != 1:
        raise Invalid("backup_identity_invalid", "backup.identity holds no single age identity (AGE-SECRET-KEY-...).")
    try:
        return pyrage.x25519.Identity.from_str(lines[0])
    except pyrage.IdentityError:
        raise Invalid("backup_identity_invalid", "backup.identity is no age identity (AGE-SECRET-KEY-...).") from None


def sha256_and_size(path: Path) -> tuple[str, int]:
    return sha256_of_file(path), path.stat().st_size
