"""`sporeprint monitor`, as it is called: exit codes and JSON."""

import json
import shutil
from pathlib import Path

import pytest

from sporeprint import cli


def test_exit_codes_and_json(
    small_table: Path, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = small_table.read_text(encoding="utf-8").splitlines()
    reference, same, other = (tmp_path / f"{name}.csv" for name in ("reference", "same", "other"))
    shutil.copy(small_table, reference)
    same.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n", encoding="utf-8")
    other.write_text("\n".join(lines[:200]) + "\n", encoding="utf-8")
    for current, code in ((same, 0), (other, 10)):
        told = ["monitor", "--config", config_file, "--current", current, "--reference", reference, "--json", "--workdir", tmp_path]
        assert cli.run([str(word) for word in told]) == code
        said = json.loads(capsys.readouterr().out)
        assert said["exit_code"] == code
        assert (tmp_path / said["written"][-1]).is_file()
    assert cli.run(["monitor", "--config", str(config_file), "--current", str(tmp_path / "none.csv"), "--reference", str(reference)]) == 4
