"""Configuration from the environment, read once by the edges (`app.main`, `app.cli`) and passed down."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SECRET_FILE = "secret-key"  # noqa: S105 - the name of the file, not a secret
PREVIOUS_FILE = "secret-key.previous"


def _key_of(text: str) -> bytes:
    """The key that a setting means. Raises ValueError where it says base64 and is not, or not 32 bytes."""
    if not text.startswith("base64:"):
        return hashlib.sha256(text.encode()).digest()
    try:
        key = base64.b64decode(text.removeprefix("base64:").strip(), validate=True)
    except ValueError as error:
        raise ValueError("NPS_SECRET_KEY: what follows base64: is not base64") from error
    if len(key) != 32:
        raise ValueError(f"NPS_SECRET_KEY: base64: is followed by 32 bytes, not {len(key)}")
    return key


class EgressRule(tuple[IPv4Network | IPv6Network, int | None]):
    """A network and a port (None: any port) that outgoing webhooks may reach beside the public https rules."""

    __slots__ = ()


class Settings(BaseSettings):
    """Every setting of the service. Names are those of the environment; see README, Configuration."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    database_url: str | None = Field(default=None, alias="DATABASE_URL")
    data_dir: Path = Field(default=Path("data"), alias="NPS_DATA_DIR")
    secret_key: str | None = Field(default=None, alias="NPS_SECRET_KEY", repr=False)
    base_url: str = Field(default="http://127.0.0.1:8000", alias="NPS_BASE_URL")
    smtp_url: str | None = Field(default=None, alias="NPS_SMTP_URL", repr=False)
    egress_allow: Annotated[tuple[EgressRule, ...], NoDecode] = Field(default=(), alias="EGRESS_ALLOW")
    rate_limit: int = Field(default=60_000, ge=0, alias="NPS_RATE_LIMIT")
    address_limit: int = Field(default=3_000, ge=0, alias="NPS_ADDRESS_LIMIT")
    previous_key: str | None = Field(default=None, alias="NPS_SECRET_KEY_PREVIOUS", repr=False)

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _read_egress(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        rules = []
        for item in filter(None, (part.strip() for part in value.split(","))):
            network, separator, port = item.rpartition(":")
            if not separator or not (port == "*" or port.isdigit()):
                raise ValueError(f"EGRESS_ALLOW: {item!r} is not network:port, for example 127.0.0.1/32:* ")
            rules.append(EgressRule((ip_network(network.strip("[]")), None if port == "*" else int(port))))
        return tuple(rules)

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def resolved_database_url(self) -> str:
        """`DATABASE_URL` with the psycopg driver, or the embedded SQLite under the data directory."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir.resolve() / 'nps.sqlite'}"
        for prefix in ("postgresql://", "postgres://"):
            if self.database_url.startswith(prefix):
                return "postgresql+psycopg://" + self.database_url.removeprefix(prefix)
        return self.database_url

    @property
    def embedded(self) -> bool:
        return self.resolved_database_url.startswith("sqlite")

    def previous_secrets(self) -> tuple[bytes, ...]:
        """Keys that still open what was encrypted before the key was changed; nothing is encrypted under them."""
        if self.previous_key:
            return (_key_of(self.previous_key),)
        path = self.data_dir / PREVIOUS_FILE
        if self.embedded and not self.secret_key and path.exists():
            return (base64.b64decode(path.read_text()),)
        return ()

    def secret(self) -> bytes:
        """32 bytes: from `NPS_SECRET_KEY` (any long text, or `base64:` and what such a file holds), else from a 0600 file made
        beside the embedded database.

        Raises ValueError where a database server is used and no key is given: a key made on one node would not open what
        another encrypted.
        """
        if self.secret_key:
            return _key_of(self.secret_key)
        if not self.embedded:
            raise ValueError("NPS_SECRET_KEY is needed with DATABASE_URL: the same long random text on every node")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        path = self.data_dir / SECRET_FILE
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return base64.b64decode(path.read_text())
        key = secrets.token_bytes(32)
        with os.fdopen(handle, "w") as file:
            file.write(base64.b64encode(key).decode())
            file.flush()
            os.fsync(file.fileno())
        return key
