"""Keys at rest: data keys sealed by a key-encryption key, which autolock turns into the unlock key (docs/formats.md).

One small file, ``<state>/certificates/keys``, replaced atomically, holds every private thing of the node, sealed under
one key: the log's data key, the TLS key, the agent's key. Without autolock the sealing key lies beside it (0600).

The file says which kind of key seals it, and its renaming is the only step that changes that. A sealing key is written
before the first ring sealed under it and removed after the last: so at every moment there is a key that opens the ring.

Whoever had the ring's old sealing key may have had all that is in it. So a new unlock key comes with a new data key, in
the same renaming; the one before it is kept until the log says that nothing on the disk needs it any more. The other
values count as exposed until whoever put them there puts new ones.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import msgspec

from raftswarm.errors import CorruptLog, ForeignState, InvalidKey, StateLocked
from raftswarm.storage.files import disk_errors, make_directory, read_file, remove_temporary, replace_file
from raftswarm.storage.replay import WAY_BACK
from raftswarm.storage.sealing import KEY_BYTES, KEYS, SALT_BYTES, Damaged, Seal, key_id
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import Disk

UNLOCK_KEY_PREFIX = "SWMKEY-1-"
FORMAT_VERSION: Final = 1

_RING: Final = "keys"
_SEALING_KEY: Final = "kek"
_DATA_KEY: Final = "data-key"
_EARLIER_DATA_KEYS: Final = "earlier-data-keys"
_LOCK_VERSION: Final = "lock-version"
_EXPOSED: Final = "exposed"
_OURS: Final = frozenset({_DATA_KEY, _EARLIER_DATA_KEYS, _LOCK_VERSION, _EXPOSED})
_MAGIC: Final = b"RSWMKEY\n"
_HEADER: Final = struct.Struct(">8sHB5x8s32s")
_CHECKSUM: Final = struct.Struct(">I")
_NUMBER: Final = struct.Struct(">Q")


class KeyRing:
    """The node's private keys, opened."""

    def __init__(self, disk: Disk, directory: str, entropy: Entropy, sealing_key: bytes, *, is_locked: bool) -> None:
        """Use `create` or `open`."""
        self._disk = disk
        self._directory = directory
        self._entropy = entropy
        self._sealing_key = sealing_key
        self._is_locked = is_locked
        self._values: dict[str, bytes] = {}

    @classmethod
    def exists(cls, disk: Disk, directory: str) -> bool:
        """Tell whether a ring was created there."""
        return disk.exists(f"{directory}/{_RING}")

    @classmethod
    def create(
        cls, disk: Disk, directory: str, entropy: Entropy, *, unlock_key: str | None = None, lock_version: int = 0
    ) -> KeyRing:
        """Make a ring with fresh keys, locked if there is an unlock key; ForeignState if there already is a ring."""
        if cls.exists(disk, directory):
            raise ForeignState(f"{directory} already holds a node's keys; leave that swarm first, or use another")
        is_locked = unlock_key is not None
        sealing_key = entropy.token_bytes(KEY_BYTES) if unlock_key is None else parse_unlock_key(unlock_key)
        ring = cls(disk, directory, entropy, sealing_key, is_locked=is_locked)
        with disk_errors(f"could not create keys in {directory}"):
            make_directory(disk, directory)
            if not is_locked:
                replace_file(disk, directory, _SEALING_KEY, sealing_key)
            ring._write({_DATA_KEY: entropy.token_bytes(KEY_BYTES), **_encode_version(lock_version)})
        return ring

    @classmethod
    def open(cls, disk: Disk, directory: str, entropy: Entropy, *, unlock_key: str | None = None) -> KeyRing:
        """Open what is there; StateLocked when it needs a key, InvalidKey when the given one does not fit.

        An unlock key given for a ring that is not locked is not looked at.
        """
        with disk_errors(f"could not read keys in {directory}"):
            image = _read_ring(disk, directory)
            is_locked, sealed_under = _parse_header(image, directory)
            if not is_locked:
                sealing_key = _read_sealing_key(disk, directory)
            elif unlock_key is None:
                raise StateLocked(f"the keys in {directory} are sealed by autolock: give the unlock key")
            else:
                sealing_key = parse_unlock_key(unlock_key)
            if key_id(sealing_key) != sealed_under:
                if is_locked:
                    raise InvalidKey("swarm could not be unlocked: invalid key provided")
                _corrupt(directory, f"the key in {directory}/{_SEALING_KEY} is not the one that sealed it")
            ring = cls(disk, directory, entropy, sealing_key, is_locked=is_locked)
            ring._values = _open_values(image, sealing_key, directory)
            ring._tidy()
        return ring

    @property
    def data_key(self) -> bytes:
        """32 bytes that seal log and snapshots (through a key per segment)."""
        return self._values[_DATA_KEY]

    @property
    def earlier_data_keys(self) -> tuple[bytes, ...]:
        """Those before it, newest first, that files on the disk may still need."""
        joined = self._values.get(_EARLIER_DATA_KEYS, b"")
        return tuple(joined[start : start + KEY_BYTES] for start in range(0, len(joined), KEY_BYTES))

    def forget_earlier(self) -> None:
        """Nothing on the disk needs the earlier data keys any more; durable on return."""
        if self.earlier_data_keys:
            with disk_errors(f"could not forget a key in {self._directory}"):
                self._write({name: value for name, value in self._values.items() if name != _EARLIER_DATA_KEYS})

    def get(self, name: str) -> bytes | None:
        """A named private value, such as the TLS key."""
        return self._values.get(name)

    def put(self, name: str, value: bytes) -> None:
        """Store a named private value, durable on return."""
        assert name not in _OURS, "what the log is sealed under does not change beneath it"
        values = {**self._values, name: value}
        if name in self.exposed:
            values = _with_exposed(values, [other for other in self.exposed if other != name])
        with disk_errors(f"could not store a key in {self._directory}"):
            self._write(values)

    @property
    def exposed(self) -> tuple[str, ...]:
        """Names of the values that were there when the unlock key came or changed, for whoever had the key before."""
        return tuple(self._values.get(_EXPOSED, b"").decode().split())

    @property
    def locked_by(self) -> str | None:
        """The unlock key in force (``SWMKEY-1-…``); None without autolock."""
        return _format_unlock_key(self._sealing_key) if self._is_locked else None

    def follow(self, unlock_key: str | None, version: int) -> bool:
        """Seal the ring as the cluster said in that version of it; True if that changed anything.

        A member that starts sees older versions of the cluster again as it reads its log: those count for nothing, or
        a key that nobody remembers would come back.
        """
        (known,) = _NUMBER.unpack(self._values.get(_LOCK_VERSION, bytes(_NUMBER.size)))
        if version <= known or unlock_key == self.locked_by:
            return False
        self.lock_with(unlock_key, version)
        return True

    def lock_with(self, unlock_key: str | None, version: int = 0) -> None:
        """Seal the ring under that unlock key from now on; None takes the lock off. Atomic and durable on return.

        A new unlock key brings a new data key.
        """
        if unlock_key == self.locked_by:
            return
        values = {**self._values, **_encode_version(version)}
        if unlock_key is not None:
            values[_EARLIER_DATA_KEYS] = b"".join((self.data_key, *self.earlier_data_keys))
            values[_DATA_KEY] = self._entropy.token_bytes(KEY_BYTES)
            values = _with_exposed(values, sorted(values.keys() - _OURS))
        before = self._sealing_key, self._is_locked
        with disk_errors(f"could not change the lock of {self._directory}"):
            try:
                if unlock_key is None:
                    self._sealing_key, self._is_locked = self._entropy.token_bytes(KEY_BYTES), False
                    replace_file(self._disk, self._directory, _SEALING_KEY, self._sealing_key)
                else:
                    self._sealing_key, self._is_locked = parse_unlock_key(unlock_key), True
                self._write(values)
            except BaseException:
                self._sealing_key, self._is_locked = before
                raise
            self._tidy()

    def forget_lock(self) -> None:
        """Take the lock off for good: this node manages no more. Durable on return.

        Whatever the cluster says of the lock when it manages again is news to it.
        """
        with disk_errors(f"could not take the lock off {self._directory}"):
            self.lock_with(None)
            if _LOCK_VERSION in self._values:
                self._write({name: value for name, value in self._values.items() if name != _LOCK_VERSION})

    def _write(self, values: dict[str, bytes]) -> None:
        """Replace the ring; a fresh salt makes a fresh key, so the seal's nonce is used once."""
        salt = self._entropy.token_bytes(SALT_BYTES)
        header = _HEADER.pack(_MAGIC, FORMAT_VERSION, self._is_locked, key_id(self._sealing_key), salt)
        plain = msgspec.msgpack.encode(values, order="deterministic")
        image = header + Seal(self._sealing_key, salt, KEYS).close(0, plain, header)
        replace_file(self._disk, self._directory, _RING, image + _CHECKSUM.pack(zlib.crc32(image)))
        self._values = values

    def _tidy(self) -> None:
        """Remove the key that a lock made useless, and what was being written when an earlier run stopped."""
        # That run may have renamed the ring and not made it durable: nobody may see what a power loss can undo.
        self._disk.sync_directory(self._directory)
        remove_temporary(self._disk, self._directory)
        if self._is_locked and self._disk.exists(f"{self._directory}/{_SEALING_KEY}"):
            self._disk.remove(f"{self._directory}/{_SEALING_KEY}")
            self._disk.sync_directory(self._directory)


def _encode_version(lock_version: int) -> dict[str, bytes]:
    return {_LOCK_VERSION: _NUMBER.pack(lock_version)} if lock_version else {}


def _with_exposed(values: Mapping[str, bytes], names: Sequence[str]) -> dict[str, bytes]:
    changed = {name: value for name, value in values.items() if name != _EXPOSED}
    return {**changed, _EXPOSED: " ".join(names).encode()} if names else changed


def new_unlock_key(entropy: Entropy) -> str:
    """Return a fresh ``SWMKEY-1-`` key: 32 random bytes in unpadded base64, as Swarm prints it."""
    return _format_unlock_key(entropy.token_bytes(KEY_BYTES))


def parse_unlock_key(text: str) -> bytes:
    """Return the 32 bytes; InvalidKey("invalid key string") when it has not that form."""
    encoded = text.removeprefix(UNLOCK_KEY_PREFIX)
    try:
        key = base64.b64decode(encoded + "=", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    # The same bytes can be written in several ways, of which only one is what Swarm prints.
    if len(key) != KEY_BYTES or _format_unlock_key(key) != text:
        raise InvalidKey("invalid key string")
    return key


def _format_unlock_key(key: bytes) -> str:
    return UNLOCK_KEY_PREFIX + base64.b64encode(key).decode().rstrip("=")


def _read_ring(disk: Disk, directory: str) -> bytes:
    try:
        return read_file(disk, f"{directory}/{_RING}")
    except FileNotFoundError:
        raise ForeignState(
            f"{directory} holds no keys: this node was never part of a swarm, or they were removed"
        ) from None


def _read_sealing_key(disk: Disk, directory: str) -> bytes:
    try:
        return read_file(disk, f"{directory}/{_SEALING_KEY}")
    except FileNotFoundError:
        _corrupt(directory, f"the key that opens it, {directory}/{_SEALING_KEY}, is missing")


def _parse_header(image: bytes, directory: str) -> tuple[bool, bytes]:
    """Return whether the ring is locked, and the name of the key that sealed it."""
    body, checksum = image[: -_CHECKSUM.size], image[-_CHECKSUM.size :]
    if len(body) < _HEADER.size or checksum != _CHECKSUM.pack(zlib.crc32(body)) or not body.startswith(_MAGIC):
        _corrupt(directory, "its checksum does not fit")
    _, version, is_locked, sealed_under, _ = _HEADER.unpack_from(body)
    if version != FORMAT_VERSION:
        raise ForeignState(
            f"{directory}/{_RING} has format {version}; "
            f"this version of raftswarm reads {FORMAT_VERSION}: run a newer one"
        )
    return bool(is_locked), sealed_under


def _open_values(image: bytes, sealing_key: bytes, directory: str) -> dict[str, bytes]:
    header, sealed = image[: _HEADER.size], image[_HEADER.size : -_CHECKSUM.size]
    _, _, _, _, salt = _HEADER.unpack(header)
    try:
        values = msgspec.msgpack.decode(Seal(sealing_key, salt, KEYS).open(0, sealed, header), type=dict[str, bytes])
    except (Damaged, msgspec.MsgspecError) as error:
        _corrupt(directory, str(error))
    if len(values.get(_DATA_KEY, b"")) != KEY_BYTES or len(values.get(_EARLIER_DATA_KEYS, b"")) % KEY_BYTES:
        _corrupt(directory, "it holds no data key")
    return values


def _corrupt(directory: str, reason: str) -> NoReturn:
    raise CorruptLog(f"{directory}/{_RING} is damaged: {reason}; {WAY_BACK}")
