import pytest

from mmhooks import ConfigError, Priority, get_priority
from mmhooks.priority import priority_name


def test_the_levels_are_mmcvs():
    levels = {level.name: level.value for level in Priority}
    assert levels == {
        "HIGHEST": 0,
        "VERY_HIGH": 10,
        "HIGH": 30,
        "ABOVE_NORMAL": 40,
        "NORMAL": 50,
        "BELOW_NORMAL": 60,
        "LOW": 70,
        "VERY_LOW": 90,
        "LOWEST": 100,
    }


@pytest.mark.parametrize(
    ("written", "value"),
    [(0, 0), (100, 100), (37, 37), ("HIGH", 30), ("very_low", 90), ("Normal", 50), (Priority.LOW, 70)],
)
def test_every_way_to_write_one(written, value):
    assert get_priority(written) == value


@pytest.mark.parametrize("value", [-1, 101, 10**9])
def test_out_of_range(value):
    with pytest.raises(ConfigError, match=f"priority {value} is out of range.*0.*100"):
        get_priority(value)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'ABOVE_NORMAL'"):
        get_priority("abov_normal")


@pytest.mark.parametrize("value", [1.5, None, [50]])
def test_other_types(value):
    with pytest.raises(TypeError, match="priority must be"):
        get_priority(value)


def test_a_value_has_its_name_or_its_number():
    assert [priority_name(value) for value in (0, 40, 41)] == ["HIGHEST", "ABOVE_NORMAL", "41"]
