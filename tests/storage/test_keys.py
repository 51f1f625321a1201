"""Keys at rest and autolock (SWARM 11): the unlock key is never on the disk, and no crash leaves a ring keyless."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import CorruptLog, ForeignState, InvalidKey, StateLocked
from raftswarm.storage.keys import KeyRing, new_unlock_key, parse_unlock_key

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

DIRECTORY = "state/certificates"
DOCKERS_KEY = "SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8"


def chosen_by(seed: int) -> Callable[[object], bool]:
    chance = Random(seed)
    return lambda _: chance.random() < 0.5


def test_a_ring_opens_by_itself_as_long_as_it_is_not_locked(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    keys.put("tls-key", b"private")

    found = KeyRing.open(disk, DIRECTORY, entropy)

    assert found.data_key == keys.data_key
    assert found.get("tls-key") == b"private"
    assert found.get("other") is None
    assert found.locked_by is None


def test_what_was_stored_and_how_it_is_locked_outlasts_the_power(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    acts: list[Callable[[], object]] = [
        lambda: keys.put("a", b"1"),
        lambda: keys.lock_with(DOCKERS_KEY),
        lambda: keys.put("b", b"2"),
        lambda: keys.lock_with(None),
        lambda: keys.put("c", b"3"),
    ]
    for act in acts:
        act()
        found = KeyRing.open(disk.after_crash(lambda _: False), DIRECTORY, entropy, unlock_key=keys.locked_by)
        assert found.locked_by == keys.locked_by
        assert [found.get(name) for name in "abc"] == [keys.get(name) for name in "abc"]


def test_no_ring_is_sealed_under_the_same_key_twice(disk: MemoryDisk, keys: KeyRing) -> None:
    salts: set[bytes] = set()
    for _ in range(3):
        keys.put("a", b"1")
        salts.add(disk.image()[f"{DIRECTORY}/keys"][24:56])

    assert len(salts) == 3


def test_two_rings_have_different_data_keys(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    assert KeyRing.create(disk, "other", entropy).data_key != keys.data_key


def test_a_locked_ring_needs_the_unlock_key(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    keys.lock_with(DOCKERS_KEY)

    with pytest.raises(StateLocked, match="sealed by autolock"):
        KeyRing.open(disk, DIRECTORY, entropy)
    found = KeyRing.open(disk, DIRECTORY, entropy, unlock_key=DOCKERS_KEY)
    assert (found.data_key, found.locked_by) == (keys.data_key, DOCKERS_KEY)


def test_a_ring_that_is_locked_from_the_beginning_never_leaves_its_key_on_the_disk(
    disk: MemoryDisk, entropy: SeededEntropy
) -> None:
    ring = KeyRing.create(disk, DIRECTORY, entropy, unlock_key=DOCKERS_KEY)

    assert disk.list(DIRECTORY) == ["keys"]
    assert KeyRing.open(disk, DIRECTORY, entropy, unlock_key=DOCKERS_KEY).data_key == ring.data_key


def test_a_new_unlock_key_brings_a_new_data_key_and_keeps_the_old_one_for_reading(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    first = keys.data_key
    keys.lock_with(DOCKERS_KEY)
    second = keys.data_key
    newer = new_unlock_key(entropy)
    keys.lock_with(newer)

    found = KeyRing.open(disk, DIRECTORY, entropy, unlock_key=newer)
    assert len({found.data_key, first, second}) == 3
    assert found.earlier_data_keys == (second, first)

    found.forget_earlier()

    assert KeyRing.open(disk, DIRECTORY, entropy, unlock_key=newer).earlier_data_keys == ()


def test_to_take_the_lock_off_changes_no_data_key(keys: KeyRing) -> None:
    keys.lock_with(DOCKERS_KEY)
    keys.forget_earlier()
    locked = keys.data_key

    keys.lock_with(None)

    assert (keys.data_key, keys.earlier_data_keys) == (locked, ())


def test_what_an_older_version_of_the_cluster_said_does_not_come_back(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    older, newer = new_unlock_key(entropy), new_unlock_key(entropy)
    assert keys.follow(older, 10)
    assert keys.follow(newer, 20)

    found = KeyRing.open(disk, DIRECTORY, entropy, unlock_key=newer)  # A start reads its log again, from the beginning.

    assert not any([found.follow(None, 5), found.follow(older, 10), found.follow(older, 20)])
    assert found.locked_by == newer
    assert found.follow(None, 21)
    assert KeyRing.open(disk, DIRECTORY, entropy).locked_by is None


def test_a_wrong_unlock_key_is_told_from_a_malformed_one(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    keys.lock_with(DOCKERS_KEY)

    with pytest.raises(InvalidKey, match=r"^swarm could not be unlocked: invalid key provided$"):
        KeyRing.open(disk, DIRECTORY, entropy, unlock_key=new_unlock_key(entropy))
    with pytest.raises(InvalidKey, match=r"^invalid key string$"):
        KeyRing.open(disk, DIRECTORY, entropy, unlock_key="open sesame")


def test_a_copied_state_directory_yields_nothing_without_the_unlock_key(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    keys.put("tls-key", b"MARKER")
    keys.lock_with(DOCKERS_KEY)

    assert disk.list(DIRECTORY) == ["keys"]
    everything = b"".join(disk.image().values())
    for secret in (b"MARKER", keys.data_key, parse_unlock_key(DOCKERS_KEY), DOCKERS_KEY.encode()):
        assert secret not in everything


def test_the_data_key_is_in_the_clear_nowhere_even_without_a_lock(disk: MemoryDisk, keys: KeyRing) -> None:
    assert keys.data_key not in b"".join(disk.image().values())


def test_after_a_change_of_the_unlock_key_the_old_one_is_refused(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    keys.lock_with(DOCKERS_KEY)
    newer = new_unlock_key(entropy)

    keys.lock_with(newer)

    with pytest.raises(InvalidKey):
        KeyRing.open(disk, DIRECTORY, entropy, unlock_key=DOCKERS_KEY)
    assert KeyRing.open(disk, DIRECTORY, entropy, unlock_key=newer).data_key == keys.data_key


def test_after_the_lock_is_taken_off_no_key_is_needed(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    keys.lock_with(DOCKERS_KEY)
    keys.lock_with(None)

    assert KeyRing.open(disk, DIRECTORY, entropy).data_key == keys.data_key
    assert keys.locked_by is None


def test_the_same_lock_again_writes_nothing(disk: MemoryDisk, keys: KeyRing) -> None:
    keys.lock_with(DOCKERS_KEY)
    calls = disk.calls

    keys.lock_with(DOCKERS_KEY)

    assert disk.calls == calls


@pytest.mark.parametrize("before", [None, DOCKERS_KEY])
@pytest.mark.parametrize("after", [None, "SWMKEY-1-" + "A" * 43])
def test_a_crash_at_any_step_of_a_change_leaves_the_old_lock_or_the_new_one(
    *,
    disk: MemoryDisk,
    keys: KeyRing,
    entropy: SeededEntropy,
    crash: type[BaseException],
    before: str | None,
    after: str | None,
) -> None:
    keys.put("tls-key", b"private")
    keys.lock_with(before)
    image = disk.copy()
    for call in range(1, 40):
        for keep in (chosen_by(call), chosen_by(-call)):
            attempt = image.copy()
            ring = KeyRing.open(attempt, DIRECTORY, entropy, unlock_key=before)
            attempt.crash_at = attempt.calls + call
            try:
                ring.lock_with(after)
            except crash:
                pass
            else:
                assert call > 3 or before == after
                return
            found = attempt.after_crash(keep, tear=100) if call % 2 else attempt.after_kill()

            try:
                ring = KeyRing.open(found, DIRECTORY, entropy, unlock_key=before)
            except (InvalidKey, StateLocked):
                ring = KeyRing.open(found, DIRECTORY, entropy, unlock_key=after)
            assert keys.data_key in {ring.data_key, *ring.earlier_data_keys}
            assert ring.get("tls-key") == b"private"
            assert ring.locked_by in {before, after}
            later = found.after_crash(lambda _: False)
            assert KeyRing.open(later, DIRECTORY, entropy, unlock_key=ring.locked_by).locked_by == ring.locked_by
            assert (disk.list(DIRECTORY) == ["keys"]) == (before is not None)
            assert found.exists(f"{DIRECTORY}/kek") == (ring.locked_by is None)


def test_a_crash_while_a_key_is_stored_leaves_the_ring_as_it_was_or_as_it_is(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, crash: type[BaseException]
) -> None:
    image = disk.copy()
    for call in range(1, 20):
        attempt = image.copy()
        ring = KeyRing.open(attempt, DIRECTORY, entropy)
        attempt.crash_at = attempt.calls + call
        try:
            ring.put("tls-key", b"private")
        except crash:
            pass
        else:
            return
        found = KeyRing.open(attempt.after_crash(lambda _: False), DIRECTORY, entropy)
        assert found.data_key == keys.data_key
        assert found.get("tls-key") in {None, b"private"}
    pytest.fail("it never got to the end")


def test_a_ring_is_not_created_over_another(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    with pytest.raises(ForeignState, match="already holds a node's keys"):
        KeyRing.create(disk, DIRECTORY, entropy)


def test_a_directory_without_keys_is_refused(disk: MemoryDisk, entropy: SeededEntropy) -> None:
    assert not KeyRing.exists(disk, "nowhere")
    with pytest.raises(ForeignState, match="nowhere holds no keys"):
        KeyRing.open(disk, "nowhere", entropy)


def test_a_lost_sealing_key_is_named(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    disk.remove(f"{DIRECTORY}/kek")

    with pytest.raises(CorruptLog, match=f"{DIRECTORY}/kek, is missing; take this member out"):
        KeyRing.open(disk, DIRECTORY, entropy)


def test_any_flipped_bit_is_noticed(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    for name, content in disk.image().items():
        for offset in range(len(content)):
            damaged = disk.copy()
            damaged.names[name].seen[offset] ^= 1 << offset % 8
            with pytest.raises(CorruptLog, match=r"certificates/keys is damaged"):
                KeyRing.open(damaged, DIRECTORY, entropy)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SWMKEY-1-",
        DOCKERS_KEY[:-1],
        DOCKERS_KEY + "=",
        DOCKERS_KEY + "A",
        DOCKERS_KEY.replace("SWMKEY-1-", "SWMKEY-2-"),
        DOCKERS_KEY.removeprefix("SWMKEY-1-"),
        DOCKERS_KEY[:-1] + "9",  # The same bytes, with bits behind the last that must be 0.
        DOCKERS_KEY.replace("7c", "-_"),
        DOCKERS_KEY + "\n",
        "SWMKEY-1-" + "é" * 43,
    ],
)
def test_only_dockers_form_of_an_unlock_key_is_taken(text: str) -> None:
    with pytest.raises(InvalidKey, match=r"^invalid key string$"):
        parse_unlock_key(text)


def test_an_unlock_key_is_32_bytes_in_unpadded_base64(entropy: SeededEntropy) -> None:
    key = new_unlock_key(entropy)

    assert len(parse_unlock_key(key)) == 32
    assert len(key) == len(DOCKERS_KEY)
    assert key != new_unlock_key(entropy)


def test_what_was_there_when_the_unlock_key_changed_counts_as_exposed_until_it_is_replaced(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    keys.put("tls-key", b"old")
    keys.put("tasks", b"old")
    assert list(keys.exposed) == []

    keys.lock_with(DOCKERS_KEY)
    assert list(keys.exposed) == ["tasks", "tls-key"]
    keys.put("tls-key", b"new")
    assert list(keys.exposed) == ["tasks"]
    keys.put("tasks", b"new")
    assert list(keys.exposed) == []

    keys.lock_with(new_key := new_unlock_key(entropy))
    assert KeyRing.open(disk, DIRECTORY, entropy, unlock_key=new_key).exposed == ("tasks", "tls-key")


def test_who_forgets_the_lock_follows_it_again_from_any_version(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    assert keys.follow(DOCKERS_KEY, 7)

    keys.forget_lock()

    ring = KeyRing.open(disk, DIRECTORY, entropy)
    assert ring.locked_by is None
    assert ring.follow(DOCKERS_KEY, 7)
