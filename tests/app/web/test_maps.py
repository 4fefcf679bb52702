"""No country is missing from the map, and the absences look different from each other and from zero."""

from __future__ import annotations

import re

import pycountry

from app.web.maps import places, steps, world_map
from app.web.static import manifest


def test_every_iso_country_is_drawn_once() -> None:
    assert set(places()) == {country.alpha_2 for country in pycountry.countries}
    shapes = set(re.findall(r'<path id="(\w+)"', manifest()["world.svg"].content.decode()))
    wanted = {f"c{place.numeric}" for place in places().values() if place.circle is None}
    assert wanted <= shapes
    drawn = world_map({"DE": "s5"}, label="x")
    assert set(re.findall(r"world\.svg#(c\d+)", drawn.wide)) == wanted
    assert drawn.wide.count("<circle") == sum(place.circle is not None for place in places().values())
    assert {"SG", "MT", "MU"} <= {code for code, place in places().items() if place.circle}


def test_zero_no_data_and_masked_have_looks_of_their_own() -> None:
    drawn = world_map({"DE": "s5", "FR": "zero", "MT": "masked"}, label="x")
    looks = {
        name: re.search(rf'#c{numeric}" class="(\w+)"', drawn.wide) for name, numeric in (("DE", 276), ("FR", 250), ("US", 840))
    }
    assert {name: found[1] for name, found in looks.items() if found} == {"DE": "s5", "FR": "zero", "US": "nodata"}
    assert re.search(r'<circle [^>]*class="masked"', drawn.wide)
    fills = re.findall(r'fill="([^"]+)"', drawn.download)
    assert {"#12436D", "#FFFFFF", "url(#nodata)", "url(#masked)"} <= set(fills)
    assert "var(" not in drawn.download


def test_classes_hold_about_as_many_values_and_equal_values_stay_together() -> None:
    found = steps([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert [found.place(n) for n in (0, 1, 2, 3, 10)] == ["zero", "s1", "s1", "s2", "s5"]
    same = steps([3, 3, 3, 9])
    assert (same.place(3), same.place(9)) == ("s4", "s5")
