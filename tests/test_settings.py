import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel
from ruamel.yaml import YAML

from sporeprint.errors import ConfigError
from sporeprint.schema import Column, DatasetSchema, Groups, Target
from sporeprint.settings import (
    DownloadSettings,
    ModelSettings,
    NominalTransform,
    NumericTransform,
    Settings,
    load_settings,
    parse,
)

Load = Callable[..., Settings]


@pytest.fixture
def loaded(config_file: Path) -> Load:
    """The shipped configuration with `--set` overrides, and with these environment variables only."""

    def _loaded(*overrides: str, **environ: str) -> Settings:
        return load_settings(config_file, environ=environ, overrides=overrides)

    return _loaded


def put(raw: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    node = raw
    *outer, last = key.split("/")
    for part in outer:
        node = node[part]
    node[last] = value
    return raw


# --- what is right


def test_shipped_configuration_is_right(loaded: Load) -> None:
    settings = loaded()
    assert settings.dataset.name == "mushroom"
    assert len(settings.dataset.columns) == 20
    assert list(settings.models) == ["logistic_regression", "decision_tree", "xgboost"]
    assert sum(settings.split.shares.values()) == pytest.approx(1)


def test_settings_cannot_be_changed(loaded: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        loaded().runtime.seed = 1  # type: ignore[misc]  # the point of the test


def test_environment_is_read_where_none_is_given(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOREPRINT_SPLIT__SEED", "99")
    assert load_settings(config_file).split.seed == 99


def test_threads_are_the_machines_where_none_are_set(loaded: Load) -> None:
    assert loaded("runtime.threads=3").threads == 3
    assert loaded("runtime.threads=0").threads >= 1


# --- what goes over what


def test_environment_goes_over_the_file(loaded: Load) -> None:
    assert loaded(SPOREPRINT_SPLIT__SEED="11").split.seed == 11


def test_override_goes_over_the_environment(loaded: Load) -> None:
    assert loaded("split.seed=12", SPOREPRINT_SPLIT__SEED="11").split.seed == 12


def test_a_later_override_goes_over_an_earlier_one(loaded: Load) -> None:
    assert loaded("split.seed=12", "split.seed=13").split.seed == 13


def test_what_goes_over_the_file_is_gone_when_it_is_read_again(loaded: Load) -> None:
    before = loaded()
    assert loaded("split.seed=12", "models.xgboost.params.max_depth=8") != before
    assert loaded() == before


def test_variables_with_a_meaning_of_their_own_and_foreign_ones_are_no_settings(loaded: Load) -> None:
    assert loaded(SPOREPRINT_OLTP_URL="sqlite://", SPOREPRINT_API_KEY="k", PATH="/bin", SPORE="x") == loaded()


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("models.xgboost.params.max_depth=8", lambda s: s.models["xgboost"].params["max_depth"] == 8),
        ("models.xgboost.params.tree_method=hist", lambda s: s.models["xgboost"].params["tree_method"] == "hist"),
        ("models.forest.estimator=sklearn.ensemble.RandomForestClassifier", lambda s: s.models["forest"].rounds == 300),
        ("source.csv.separator='\t'", lambda s: s.source.csv.separator == "\t"),
        ("source.csv={header: false}", lambda s: s.source.csv.header is False),
        ("source.csv.encoding=cp1252", lambda s: s.source.csv.encoding == "cp1252"),
        ("dataset.groups=null", lambda s: s.dataset.groups is None),
        ("source.query=select a, b from t where c = 1", lambda s: s.source.query == "select a, b from t where c = 1"),
        ("transform.columns.stem-root.encode=ordinal", lambda s: s.transform.columns["stem-root"] == NominalTransform(encode="ordinal")),
        ("transform.columns.stem-width={}", lambda s: s.transform.columns["stem-width"] == NumericTransform()),
        (
            "transform.columns.stem-width={impute: constant, constant: 0}",
            lambda s: s.transform.columns["stem-width"] == NumericTransform(impute="constant", constant=0.0),
        ),
    ],
)
def test_overrides_reach_every_depth_with_their_types(loaded: Load, override: str, read: Callable[[Settings], bool]) -> None:
    assert read(loaded(override))


# --- what is wrong: one message each

WRONG = [
    # unknown and missing keys
    (
        "splt.seed=1",
        "splt: unknown key (did you mean 'split'?); allowed here: ab_testing, alerts, dataset, engine, evaluation, gate, guard, models, ",
    ),
    (
        "split.sed=4",
        "split.sed: unknown key (did you mean 'seed'?); allowed here: by, calibration, column, early_stop",
    ),
    (
        "dataset.columns.habitat.knd=x",
        "dataset.columns.habitat.knd: unknown key (did you mean 'kind'?); allowed here: ",
    ),
    ("models.xgboost.estimatr=x", "models.xgboost.estimatr: unknown key (did you mean 'estimator'?); allowed here: early_stopping_rounds"),
    ("source.csv.zebra=x", "source.csv.zebra: unknown key; allowed here: columns, encoding, header, separator"),
    ("models.forest.params={}", "models.forest.estimator: missing; add it"),
    ("models.forest={estimatr: x}", "models.forest.estimator: missing (did you mean 'estimatr'?)"),
    # types
    ("split.seed=abc", "split.seed: expected a whole number, not 'abc'"),
    ("split.seed=1.5", "split.seed: expected a whole number, not 1.5"),
    ("split.seed=", "split.seed: expected a whole number, not None"),
    ("source.csv.header=perhaps", "source.csv.header: expected true or false, not 'perhaps'"),
    ("source.path=3", "source.path: expected a text, not 3"),
    ("split=3", "split: expected keys with values, not 3"),
    ("dataset=mushrooms", "dataset: expected keys with values, not 'mushrooms'"),
    ("dataset.columns=[a, b]", "dataset.columns: expected keys with values, not ['a', 'b']"),
    ("source.csv={1: 2}", "source.csv.1: the key 1 is not text; put it in quotes"),
    # values
    ("split.seed=-1", "split.seed: expected at least 0, not -1"),
    ("split.train=1", "split.train: expected below 1, not 1"),
    ("evaluation.folds=1", "evaluation.folds: expected at least 2, not 1"),
    ("evaluation.confidence=0.5", "evaluation.confidence: expected above 0.5, not 0.5"),
    ("validation.max_rejected_share=.nan", "validation.max_rejected_share: expected a finite number, not nan"),
    ("source.download.timeout_s=.inf", "source.download.timeout_s: expected a finite number, not inf"),
    ("source.fallback=simulat", "source.fallback: expected one of simulate, fail, not 'simulat'"),
    ("selection.metric=auc", "selection.metric: expected one of mcc, roc_auc, pr_auc, "),
    ("source.download.url=ftp://x", "source.download.url: expected a text that matches ^https?://, not 'ftp://x'"),
    ("source.download.sha256={a.csv: abc}", "source.download.sha256.a.csv: expected a text that matches ^[0-9a-f]{64}$, not 'abc'"),
    ("source.csv.separator=;;", "source.csv.separator: expected 'auto' or one ASCII character that is no quote and no line end, not ';;'"),
    ("source.csv.separator='\"'", "source.csv.separator: expected 'auto' or one ASCII character that is no quote and no line end"),
    ("source.csv.encoding=utf-88", "encoding: expected 'auto' or an encoding that Python knows (did you mean 'utf-8'?), not 'utf-88'"),
    ("source.csv.encoding=hex", "source.csv.encoding: expected 'auto' or an encoding that Python knows, not 'hex'"),
    ("models={}", "models: expected at least 1 entry, not 0"),
    ("dataset.target.values={a: b}", "dataset.target.values: expected at least 2 entries, not 1"),
    ("dataset.target.values={a: b, c: d, e: f}", "dataset.target.values: expected at most 2 entries, not 3"),
    ("models.Forest.estimator=x", "models: 'Forest' cannot name a model: lower-case letters, digits and '_', a letter first"),
    ("models.été.estimator=x", "models: 'été' cannot name a model"),
    ("models.production.estimator=x", "models: the name 'production' is taken, it means the version that is served"),
    # settings that contradict each other
    ("split.train=0.6", "split: the shares of train, early_stop, calibration, threshold, test must add up to 1, not 1.1"),
    ("transform.nominal.constant=x", "transform.nominal: 'constant' goes with impute: constant, and is needed there"),
    ("transform.numeric.impute=constant", "transform.numeric: 'constant' goes with impute: constant, and is needed there"),
    ("dataset.target.positive=x", "dataset.target: positive 'x' is not one of the values ['e', 'p']"),
    ("dataset.columns.class={kind: nominal}", "dataset: 'class' is declared twice among features, target, group and cluster column"),
    ("dataset.groups.column=site", "dataset.groups: give exactly one of 'block_rows' and 'column'"),
    # exceptions by column: only the choices of the column's own kind are named
    ("transform.columns.stem-rot.encode=ordinal", "transform.columns.stem-rot: no such column (did you mean 'stem-root'?)"),
    ("transform.columns.stem-root=3", "transform.columns.stem-root: expected keys with values, not 3"),
    (
        "transform.columns.stem-root.encode=ordinl",
        "transform.columns.stem-root.encode: expected one of one_hot, ordinal, target_mean, not 'ordinl'",
    ),
    (
        "transform.columns.stem-width.encode=one_hot",
        "transform.columns.stem-width.encode: expected one of standard, robust, none, not 'one_hot'",
    ),
    (
        "transform.columns.stem-root.encde=ordinal",
        "transform.columns.stem-root.encde: unknown key (did you mean 'encode'?); allowed here: constant, encode, impute",
    ),
    (
        "transform.columns.stem-width.indicatr=true",
        "transform.columns.stem-width.indicatr: unknown key (did you mean 'indicator'?); allowed here: constant, encode, impute, indicator",
    ),
    (
        "transform.columns.stem-root.indicator=true",
        "transform.columns.stem-root.indicator: unknown key; allowed here: constant, encode, impute",
    ),
    (
        "transform.columns.stem-root={impute: constant}",
        "transform.columns.stem-root: 'constant' goes with impute: constant, and is needed there",
    ),
    ("transform.columns=3", "transform.columns: expected keys with values, not 3"),
]


@pytest.mark.parametrize(("override", "message"), WRONG, ids=[override for override, _ in WRONG])
def test_one_wrong_setting_is_one_line_that_says_it_all(loaded: Load, config_file: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(override)
    heading, *lines = str(caught.value).splitlines()
    assert heading.startswith(f"{config_file} with --set {override.partition('=')[0]}: ")
    # An unknown key in the place of a needed one is two problems; everything else is one.
    assert len(lines) == (2 if "estimatr: x" in override else 1)
    assert any(message in line for line in lines), lines
    assert "Transform" not in str(caught.value)


def test_every_problem_is_told_at_once(loaded: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded("source.download.max_mb=abc", "split.seed=x", "transform.columns={habitat: {encode: x, impute: y}, nope: {}}")

    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "source.download.max_mb",
        "split.seed",
        "transform.columns.habitat.encode",
        "transform.columns.habitat.impute",
        "transform.columns.nope",
    ]
    assert ": 5 problems\n" in str(caught.value)


def test_a_wrong_dataset_is_told_without_guesses_about_its_columns(loaded: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded("dataset.name=X Y", "transform.columns.habitat.encode=x")
    assert str(caught.value).count("\n") == 1
    assert "dataset.name: expected a text that matches" in str(caught.value)


@pytest.mark.parametrize("override", ["split.seed", "=3", ""])
def test_override_without_key_or_value_is_refused(loaded: Load, override: str) -> None:
    with pytest.raises(ConfigError, match=r"--set '.*': expected key=value, as in models\.xgboost\.params\.max_depth=8"):
        loaded(override)


@pytest.mark.parametrize("override", ["split.seed.x=3", "split.seed.x.y=3"])
def test_override_below_a_value_is_refused(loaded: Load, override: str) -> None:
    with pytest.raises(ConfigError, match=r"--set split\.seed\.x(\.y)?: 'seed' is a value, it holds no keys"):
        loaded(override)


@pytest.mark.parametrize("text", ["[1, 2", "{a: 1, a: 2}", "'\0'", "2024-13-45", "1" * 5000, "[" * 500])
def test_override_that_is_no_yaml_value_is_refused_shortly(loaded: Load, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set split\.seed: .* is not a value$") as caught:
        loaded(f"split.seed={text}")
    assert len(str(caught.value)) < 150


def test_a_long_value_is_cut_in_the_message(loaded: Load) -> None:
    with pytest.raises(ConfigError, match=r"split\.seed: .*, not 'xxxxx.*\.\.\. \(502 characters\)$"):
        loaded(f"split.seed={'x' * 500}")


def test_a_password_is_not_in_the_message(loaded: Load) -> None:
    with pytest.raises(ConfigError, match=r"not 'mysql://reader:\*\*\*@host/db'") as caught:
        loaded("source.download.url=mysql://reader:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


# --- environment


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SPOREPRINT_SPLIT_SEED", r" \(did you mean 'SPOREPRINT_SPLIT__SEED'\?\)"),
        ("SPOREPRINT_SPILT__SEED", r" \(did you mean 'SPOREPRINT_SPLIT__SEED'\?\)"),
        ("SPOREPRINT_OLTP_URI", r" \(did you mean 'SPOREPRINT_OLTP_URL'\?\)"),
        ("SPOREPRINT_SPLIT", ""),
    ],
)
def test_mistyped_environment_variable_is_refused(loaded: Load, name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=rf"^environment: {name} is no setting.*{hint}; sections: dataset, source, ") as caught:
        loaded(**{name: "secret"})
    assert "secret" not in str(caught.value)


def test_wrong_value_in_the_environment_names_the_variable(loaded: Load) -> None:
    with pytest.raises(
        ConfigError, match=r"config\.yaml with SPOREPRINT_SPLIT__SEDE: 1 problem\n  split\.sede: unknown key \(did you mean"
    ):
        loaded(SPOREPRINT_SPLIT__SEDE="3")


# --- the file


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file at .*nowhere\.yaml; name one with --config"):
        load_settings(tmp_path / "nowhere.yaml", environ={})


def test_folder_is_no_configuration_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*Is a directory"):
        load_settings(tmp_path, environ={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe\x00", "cannot read the configuration file .*can't decode"),
        ("split:\n  seed: 1\n  seed: 2\n", 'is not valid YAML: line 3, column 3: found duplicate key "seed" with value "2"'),
        ("split:\n - [", "is not valid YAML: line 2, column 5: "),
        ("when: 2024-13-45", "is not valid YAML: month must be in 1..12"),
        ("a: \0", "is not valid YAML: "),
        ("[" * 500, "is not valid YAML: "),
        ("- a\n- b", "expected a mapping of settings at the top, found a list"),
        ("", "expected a mapping of settings at the top, found nothing; sporeprint init writes one"),
        ("{}", ": 1 problem\n.*dataset: missing"),
    ],
)
def test_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(written(tmp_path, text), environ={})


def test_yaml_words_stay_words(tmp_path: Path, config_file: Path) -> None:
    """In YAML 1.1 `n`, `no` and `on` are booleans, and codes of this very table would turn into False."""
    text = config_file.read_text(encoding="utf-8").replace("{t: bruises or bleeds, f: 'no'}", "{on: off, no: n, y: yes}")
    settings = load_settings(written(tmp_path, text), environ={})
    assert settings.dataset.columns["does-bruise-or-bleed"].values == {"on": "off", "no": "n", "y": "yes"}


# --- whatever comes

YAML_LIKE = st.text(alphabet="ab01:-[]{},\"'!&*|>%@`#? \n\t.~_<=eE+é\0", max_size=25)
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=4) | st.dates()
KEYS = (
    st.text(max_size=5) | st.integers(0, 3) | st.none() | st.sampled_from(["encode", "constant", "stem-root", "kind", "values", "column"])
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)

CONFIG_FILE = Path(__file__).parents[1] / "config" / "config.yaml"
SHIPPED: dict[str, Any] = YAML(typ="safe", pure=True).load(CONFIG_FILE.read_text(encoding="utf-8"))


def places(node: Any, above: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{above}{key}"
            yield from places(value, f"{above}{key}/")


@given(text=YAML_LIKE)
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    try:
        load_settings(CONFIG_FILE, environ={"SPOREPRINT_MODELS__XGBOOST__PARAMS__X": text})
    except ConfigError as error:
        assert "SPOREPRINT_MODELS__XGBOOST__PARAMS__X" in str(error)  # noqa: PT017  # most texts are fine, there is nothing to expect


@hypothesis_settings(max_examples=300)
@given(place=st.sampled_from(sorted(places(SHIPPED))), value=VALUES)
def test_any_value_anywhere_is_taken_or_a_config_error_in_the_users_words(place: str, value: Any) -> None:
    try:
        parse(put(copy.deepcopy(SHIPPED), place, value))
    except ConfigError as error:
        for ours in ("function-", "Transform", "instance of", "Settings"):
            assert ours not in str(error).replace(repr(value), "")  # noqa: PT017  # most values are wrong, a few are not
        assert place.split("/")[0] in str(error)  # noqa: PT017


@given(st.permutations(["train", "early_stop", "calibration", "threshold", "test"]), st.lists(st.integers(1, 50), min_size=5, max_size=5))
def test_shares_that_add_up_are_taken_in_the_order_of_the_steps(parts: list[str], weights: list[int]) -> None:
    shares = {part: weight / sum(weights) for part, weight in zip(parts, weights, strict=True)}
    split = parse(put(copy.deepcopy(SHIPPED), "split", {**shares, "seed": 1})).split
    assert list(split.shares) == ["train", "early_stop", "calibration", "threshold", "test"]
    assert split.shares == shares


# --- the shipped file and the code say the same

#: Where the file that comes with the project chooses otherwise than the default for any table, and why.
CHOSEN = {
    "source.download.members": "what lies in this table's zip",
    "guard.missed": 'a wrong "edible" kills: one positive in a hundred, where other tables take one in five',
    "source.path": "the mushroom table",
    "guard.most": "left out it follows from alpha; the file shows what that comes to here",
}


def documented(model: type[BaseModel], where: str) -> Iterator[tuple[str, Any]]:
    """Every key of a section with its default (Ellipsis where there is none), sections in it included."""
    for name, field in model.model_fields.items():
        key = f"{where}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from documented(field.annotation, f"{key}.")
        else:
            yield key, ... if field.is_required() else field.get_default(call_default_factory=True)


SECTIONS = [
    (key, default)
    for key, default in (*documented(Settings, ""), *documented(DownloadSettings, "source.download."))
    if key.split(".")[0] not in {"dataset", "models"}
]


@pytest.mark.parametrize(("key", "default"), SECTIONS, ids=[key for key, _ in SECTIONS])
def test_shipped_file_shows_every_setting_with_its_default(config_file: Path, key: str, default: Any) -> None:
    node: Any = SHIPPED
    for part in key.split("."):
        if part not in node:
            assert default is None, f"{key} is not in the file"
            assert f"# {part}: " in config_file.read_text(encoding="utf-8"), f"{key} is not even in a comment of the file"
            return
        node = node[part]
    if isinstance(default, dict):
        default = {name: item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else item for name, item in default.items()}
    if default is not ... and key != "source.download":
        assert (node != (list(default) if isinstance(default, tuple) else default)) == (key in CHOSEN)


@pytest.mark.parametrize("model", [DatasetSchema, Target, Column, Groups, ModelSettings])
def test_shipped_file_shows_every_key_of_the_sections_that_have_no_defaults(config_file: Path, model: type[BaseModel]) -> None:
    text = config_file.read_text(encoding="utf-8")
    assert [name for name in model.model_fields if not re.search(rf"\b{name}:( |$)", text, re.MULTILINE)] == []
