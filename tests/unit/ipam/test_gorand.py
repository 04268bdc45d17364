"""Go's generator, against numbers printed by Go."""

import pytest

from ipam.gorand import Rand, _fixed_state, fnv1_32

HOSTS = {
    "node1": (3957252814, (3217423002, 3224389328), 8202333835813900017),
    "node2": (3957252813, (800420256, 1562075156), 2305994837552407737),
    "node3": (3957252812, (2722376220, 166711020), 5640401265941924753),
    "node-1": (568266919, (3034095070, 2681635281), 4663199144995154783),
    "test-host": (1779102516, (3141054162, 2743341996), 5775702377738320487),
}

BELOW = {
    "node1": {1 << 4: 7, 1 << 10: 666, 1 << 16: 2887, 1 << 58: 13588661266676378, 1 << 74: 16499189050304013659613},
    "node2": {1 << 4: 0, 1 << 10: 416, 1 << 16: 45103, 1 << 58: 239116056101196844, 1 << 74: 877732915693254971263},
    "node-1": {3: 2, 1000: 478, 1023: 478, 1 << 32: 2171471316, 1 << 74: 6236780179776727651668},
    "test-host": {1 << 12: 3794, 3: 2, 1000: 722, 1023: 722, 1 << 58: 253349111635947218},
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_hosts_first_numbers_are_gos(host: str) -> None:
    seed, first, third = HOSTS[host]
    assert fnv1_32(host.encode()) == seed
    rand = Rand(seed)
    assert (rand.uint32(), rand.uint32()) == first
    assert rand.int63() == third


@pytest.mark.parametrize(("host", "limit"), [(host, limit) for host in BELOW for limit in BELOW[host]])
def test_numbers_below_a_limit_are_those_of_big_int(host: str, limit: int) -> None:
    assert Rand(fnv1_32(host.encode())).below(limit) == BELOW[host][limit]


def test_the_generator_keeps_step_over_more_than_its_length() -> None:
    rand = Rand(1)
    first = [rand.int63() for _ in range(3)]
    assert first == [5577006791947779410, 8674665223082153551, 6129484611666145821]
    for _ in range(2000):
        rand.uint64()
    assert rand.int63() == 5063243833331165138  # rand.New(rand.NewSource(1)), its 2004th Int63


def test_the_fixed_state_is_the_generator_after_7800000000000_steps() -> None:
    assert list(_fixed_state()) == _state_after(7_800_000_000_000)


def _state_after(steps: int) -> list[int]:
    """The state of the generator ``steps`` on from seed 1, by x^steps modulo x^607 - x^334 - 1 over Z/2^64."""
    length, word = 607, (1 << 64) - 1
    state, lehmer = [], 1
    for at in range(-20, length):
        lehmer = 48271 * lehmer % 0x7FFFFFFF
        if at >= 0:
            value = lehmer << 20
            lehmer = 48271 * lehmer % 0x7FFFFFFF
            value ^= lehmer << 10
            lehmer = 48271 * lehmer % 0x7FFFFFFF
            state.append(value ^ lehmer)
    past = [state[(333 - back) % length] for back in range(length)]
    for at in range(length, 2 * length):
        past.append((past[at - 607] + past[at - 273]) & word)
    power = _power_of_x(steps)
    after = [0] * length
    for ahead in range(length):
        value = sum(factor * past[at + ahead] for at, factor in enumerate(power)) & word
        after[(333 - steps - ahead) % length] = value
    return after


def _power_of_x(exponent: int) -> list[int]:
    power = [1] + [0] * 606
    for bit in f"{exponent:b}":
        power = _reduce(_square(power))
        if bit == "1":
            power = _reduce([0, *power])
    return power


def _square(poly: list[int]) -> list[int]:
    """By one multiplication of large integers; 18 bytes hold a coefficient of the product."""
    packed = int.from_bytes(b"".join(c.to_bytes(18, "little") for c in poly), "little")
    raw = (packed * packed).to_bytes(2 * len(poly) * 18, "little")
    return [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw) - 18, 18)]


def _reduce(poly: list[int]) -> list[int]:
    word = (1 << 64) - 1
    for at in range(len(poly) - 1, 606, -1):
        factor = poly[at]
        poly[at - 607] = (poly[at - 607] + factor) & word
        poly[at - 273] = (poly[at - 273] + factor) & word
    return poly[:607]
