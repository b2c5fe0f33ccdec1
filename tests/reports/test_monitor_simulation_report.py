"""The picture of simulated months is an XML document with a line for each way to judge."""

from xml.etree import ElementTree as ET

from sporeprint.monitoring.simulation import DailyTraffic, SimulatedMonth, SimulatedMonths
from sporeprint.reports.monitor_simulation_report import picture


def test_a_line_for_each_result() -> None:
    months = (SimulatedMonth((3, 4), 1), SimulatedMonth((), 0))
    made = ET.fromstring(picture([SimulatedMonths(DailyTraffic(), learned, months) for learned in (False, True)], 5, 0.05))
    lines = [element.attrib["points"].split() for element in made.iter() if element.tag.endswith("polyline")]
    assert [len(line) for line in lines] == [6, 6]
    heights = [float(corner.partition(",")[2]) for corner in lines[0]]
    assert heights[2] > heights[3] == heights[5]
    (promised,) = [float(element.attrib["y1"]) for element in made.iter() if element.attrib.get("class", "").startswith("mark")]
    assert heights[3] < promised < heights[2]
    found = ET.fromstring(picture([SimulatedMonths(DailyTraffic(shift=1.0), True, months)], 5, None))
    assert not [element for element in found.iter() if element.attrib.get("class", "").startswith("mark")]
