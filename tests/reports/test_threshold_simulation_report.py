"""The picture of a simulated threshold is an XML document with a row for each way of counting."""

from xml.etree import ElementTree as ET

from sporeprint.reports.threshold_simulation_report import picture
from sporeprint.safety.threshold_simulation import ThresholdSimulation


def test_a_bar_for_each_way_of_counting() -> None:
    found = ThresholdSimulation(2000, 5, 1.0, 0.01, 1000, 0.05, broken_by_rows=230, broken_by_units=45)
    made = ET.fromstring(picture(found))
    by_rows, by_units = [element.attrib for element in made.iter() if element.tag.endswith("circle")]
    start = min(float(element.attrib["x1"]) for element in made.iter() if element.attrib.get("class") == "grid")
    assert (float(by_rows["cx"]) - start) / (float(by_units["cx"]) - start) > 4
    assert (by_rows["class"], by_units["class"]) == ("dot warn", "dot s1")  # broken too often, and not
    texts = "".join(made.itertext())
    assert "23.0%" in texts
    assert "1,000 runs of 2,000 rows, 5 of each unit" in texts
