"""What a person can really see: answers to partial rows, on the real table; one row printed for each figure.

    python benchmarks/partial_observations.py [--strangers 40] [--seed 5]

Empty cells carry no information, unless said. Seen: test rows, which nothing was fitted on. Unseen: poisonous rows, each with its
own species left out of what is known; also where the margins were measured on rows of that species (their number is in the hundreds of
thousands, one species is a hundredth of them). Ten "asked" are ten questions, also where the book has nothing to answer ("cannot tell").
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint import settings as configuration
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.splitting import parts, row_hashes
from sporeprint.data.training_data import KnownRows
from sporeprint.safety.cells import Cells
from sporeprint.safety.decision_rule import fit_guards
from sporeprint.safety.novelty_guard import Guard
from sporeprint.safety.partial_guard import MOST_STRANGERS, PartialGuard, margin_curve, random_masks
from sporeprint.safety.partial_rule import decide_partial, rehearse
from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN, VerdictLimits
from sporeprint.settings import Settings

ROOT = Path(__file__).parent.parent
Flags = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]


class Trial:
    """The shipped guard of partial rows, test rows, and rows of species that are left out."""

    def __init__(self, table: Path, settings: Settings, strangers: int, seed: int) -> None:
        self.settings, self.random = settings, np.random.default_rng(seed)
        self.rows = read(table, settings)
        known, calibrate, test = (self.part(*names) for names in (("train", "early_stop"), ("calibration",), ("threshold",)))
        begin = time.process_time()
        self.full, self.guard = fit_guards(
            KnownRows.of(known), calibrate, test, settings.dataset, settings.guard, seed=settings.runtime.seed
        )
        print(f"fitted in {time.process_time() - begin:.1f} CPU s; {self.guard.threshold.reason}; enough: {self.guard.enough:g}")
        self.limits = VerdictLimits(None, 1.0, settings.guard.coverage)
        self.cost = {name: column.cost for name, column in settings.dataset.columns.items()}
        self.test = self.part("test")
        self.seen = self.cells_of(self.test)
        self.unseen_rows = self.few_of_each(strangers)
        self.unseen = self.cells_of(self.unseen_rows)

    def part(self, *names: str) -> Observations:
        """Rows of parts of the split."""
        order = list(self.settings.split.shares)
        assert self.rows.part is not None
        return self.rows.take(np.flatnonzero(np.isin(self.rows.part, [order.index(name) for name in names])))

    def few_of_each(self, count: int) -> Observations:
        """Positive rows, so many of each species."""
        assert self.rows.group is not None
        groups = np.unique(self.rows.group[self.rows.y == 1])
        chosen = [self.random.choice(np.flatnonzero(self.rows.group == group), count, replace=False) for group in groups]
        return self.rows.take(np.sort(np.concatenate(chosen)))

    def cells_of(self, rows: Observations) -> Cells:
        """Their cells."""
        return Cells.of_codes(rows.codes, self.guard.layout)

    def verdicts(self, cells: Cells, left_out: Index | None = None) -> npt.NDArray[np.int8]:
        """The verdict on every row."""
        evidence = self.guard.likelihood.evidence(cells, left_out=left_out)
        quiet = np.zeros(len(cells), dtype=np.bool_)
        return decide_partial(self.guard, cells, contradictory=quiet, limits=self.limits, evidence=evidence).verdict

    def unseen_negative(self, cells: Cells) -> str:
        """Unseen poisonous rows called edible: share, rows, species."""
        assert self.unseen_rows.group is not None
        negative = self.verdicts(cells, self.unseen_rows.group.astype(np.intp)) == NEGATIVE
        species = len(np.unique(self.unseen_rows.group[negative]))
        return f"{negative.mean():.3%} ({negative.sum()} of {len(negative):,}, {species} species)"

    def seen_line(self, cells: Cells) -> str:
        """How the test rows are answered."""
        verdict, y = self.verdicts(cells), self.test.y
        edible = (verdict[y == 0] == NEGATIVE).mean()
        wrong = int(((verdict == NEGATIVE) & (y == 1)).sum())
        return f"answered {(verdict != UNKNOWN).mean():.2%}, edible called edible {edible:.2%}, false edible {wrong} of {int(y.sum()):,}"


def read(table: Path, settings: Settings) -> Observations:
    """The real table as a run knows it: coded, shared out by species."""
    schema = settings.dataset
    assert schema.groups is not None
    assert schema.groups.block_rows is not None
    frame = pl.read_csv(table, separator=";", infer_schema=False)
    codes = Codes.of(frame.select(list(schema.columns)), schema)
    y = (frame[schema.target.column] == schema.target.positive).cast(pl.Int8).to_numpy()
    row = np.arange(frame.height)
    group = row // schema.groups.block_rows
    hashes = row_hashes(codes, seed=settings.split.seed)
    return Observations(codes, y, row, group, hashes, parts(hashes, group, settings.split.shares))


def completed(trial: Trial) -> Cells:
    """Test rows with all fields: those that the book is silent about are drawn from other rows."""
    rows, known = trial.test, trial.part("train")
    nominal = {}
    for name, values in rows.codes.nominal.items():
        pool = known.codes.nominal[name]
        pool, values = pool[pool > 0], values.copy()
        empty = values == 0
        values[empty] = trial.random.choice(pool, int(empty.sum()))
        nominal[name] = values
    return Cells.of_codes(Codes(rows.codes.vocabulary, nominal, rows.codes.numeric, rows.codes.rows), trial.guard.layout)


def misread(trial: Trial, cells: Cells, mask: Flags, fields: int) -> Cells:
    """Observed nominal fields of each row changed to another value."""
    layout = trial.guard.layout
    places = cells.places.copy()
    shown = cells.observed & mask
    for row in range(len(cells)):
        nominal = np.flatnonzero(shown[row, : len(layout.categories)])
        for at in trial.random.choice(nominal, min(fields, len(nominal)), replace=False):
            values = len(layout.categories[layout.columns[at]])
            if values > 1:
                others = [value for value in range(values) if layout.starts[at] + 3 + value != places[row, at]]
                places[row, at] = layout.starts[at] + 3 + int(trial.random.choice(others))
    return replace(cells, places=places)


# --- the figures -----------------------------------------------------------------------------------------------------


def as_recorded(trial: Trial) -> None:
    print("all fields of the row, empty cells no information:", trial.seen_line(trial.seen))
    print("  unseen poisonous called edible:", trial.unseen_negative(trial.unseen))
    informative(trial, trial.full)


def informative(trial: Trial, guard: Guard) -> None:
    """The other reading: an empty cell is a value, so the pattern of empty cells is a fingerprint of the species."""
    from sporeprint.evaluation.safety_scorecard import leave_one_group_out

    coverage = trial.settings.guard.coverage
    answered = float((guard.novelty(trial.test.codes).p > 1 - coverage).mean())
    out = leave_one_group_out(guard, trial.unseen_rows, trial.part("calibration"))
    wrong = int(((out.p > 1 - coverage) & ~out.positive).sum())
    print(f"the same, empty cells informative: answered {answered:.2%}; unseen called edible {wrong} of {len(out.p):,}")


def one_left_out(trial: Trial) -> None:
    for at, name in enumerate(trial.guard.layout.columns):
        mask = np.arange(len(trial.guard.layout.columns)) != at
        recorded = trial.seen.observed[:, at]
        verdict, y = trial.verdicts(trial.seen.take(recorded).hidden(mask, trial.guard.layout)), trial.test.y[recorded]
        wrong = int(((verdict == NEGATIVE) & (y == 1)).sum())
        print(f"left out {name}: answered {(verdict != UNKNOWN).mean():.2%}, false edible {wrong} of {len(y):,} rows")


def all_given(trial: Trial) -> None:
    print("all 20 fields given, silent ones drawn from other rows:", trial.seen_line(completed(trial)))


def asked(trial: Trial) -> None:
    coverage, y = trial.settings.guard.coverage, trial.test.y
    chosen = np.sort(trial.random.permutation(len(y))[:3_000])
    cells, y = trial.seen.take(chosen), y[chosen]
    assert trial.unseen_rows.group is not None
    seen = rehearse(trial.guard, trial.cost, cells, steps=20, coverage=coverage)
    own = trial.unseen_rows.group.astype(np.intp)
    unseen = rehearse(trial.guard, trial.cost, trial.unseen, steps=20, coverage=coverage, left_out=own)
    for count in (4, 6, 8, 9, 10, 11, 12, 14, 16, 20):
        verdict = seen.verdict[count]
        wrong = unseen.verdict[count] == NEGATIVE
        print(
            f"{count} asked: edible called edible {(verdict[y == 0] == NEGATIVE).mean():.2%}, answered {(verdict != UNKNOWN).mean():.2%}, "
            f"false edible seen {int(((verdict == NEGATIVE) & (y == 1)).sum())} of {int(y.sum()):,}, "
            f"unseen {wrong.mean():.3%} ({len(np.unique(own[wrong]))} species)"
        )
    enough = trial.guard.enough
    for word, label, code, bound in (("poisonous", 1, POSITIVE, np.inf), ("edible", 0, NEGATIVE, enough)):
        first = seen.first(code, enough=bound)[y == label]
        reached = first[first < len(seen.verdict)]
        print(
            f"questions until '{word}', seen {word}: median {np.median(reached):g}, 90th percentile {np.quantile(reached, 0.9):g}, "
            f"reached by {len(reached) / len(first):.2%}"
        )
    ended = unseen.first(NEGATIVE, enough=enough) < len(unseen.verdict)
    print(
        f"the dialogue, which stops as soon as it may: unseen poisonous that end as edible "
        f"{ended.mean():.3%} ({ended.sum()} of {len(ended):,})"
    )


def held_back(trial: Trial) -> None:
    """The margins measured on half of the poisonous species, the figures on the other half: no species is on both sides."""
    guard, coverage, random = trial.guard, trial.settings.guard.coverage, np.random.default_rng(11)
    edible = np.flatnonzero(trial.test.y == 0)
    seen = trial.seen.take(np.sort(random.permutation(edible)[:1_500]))
    rows = trial.part("calibration", "threshold")
    assert rows.group is not None
    assert trial.unseen_rows.group is not None
    own = trial.unseen_rows.group.astype(np.intp)
    species = random.permutation(np.unique(own))
    for half, measured_on in ((0, 1), (1, 0)):
        mine = rows.take(np.flatnonzero((rows.y == 1) & np.isin(rows.group, np.array_split(species, 2)[half])))
        mine = mine.take(np.sort(random.permutation(len(mine.y))[:MOST_STRANGERS]))
        assert mine.group is not None
        strangers, group = Cells.of_codes(mine.codes, guard.layout), mine.group.astype(np.intp)
        curve = margin_curve(guard.likelihood, guard.power, strangers, group, unseen_risk=guard.unseen_risk, random=random)
        other = np.flatnonzero(np.isin(own, np.array_split(species, 2)[measured_on]))
        judge = replace(guard, curve=curve)
        known = rehearse(judge, trial.cost, seen, steps=12, coverage=coverage)
        unseen = rehearse(judge, trial.cost, trial.unseen.take(other), steps=12, coverage=coverage, left_out=own[other])
        for count in (10, 12):
            wrong = unseen.verdict[count] == NEGATIVE
            print(
                f"{count} asked, margins of 48 species, measured on the other 48 ({'AB'[measured_on]}): edible called edible "
                f"{(known.verdict[count] == NEGATIVE).mean():.2%}, unseen {wrong.mean():.3%} ({len(np.unique(own[other][wrong]))} species)"
            )


def at_random(trial: Trial) -> None:
    columns = len(trial.guard.layout.columns)
    for count in (5, 8, 10, 12, 15, 18):
        order = trial.random.random((len(trial.seen), columns)).argsort(axis=1).argsort(axis=1)
        masks = trial.random.random((len(trial.unseen), columns)).argsort(axis=1).argsort(axis=1) < count
        print(f"{count} at random:", trial.seen_line(trial.seen.hidden(order < count, trial.guard.layout)))
        print("  unseen poisonous called edible:", trial.unseen_negative(trial.unseen.hidden(masks, trial.guard.layout)))


def one_wrong(trial: Trial) -> None:
    coverage = trial.settings.guard.coverage
    chosen = np.sort(trial.random.permutation(len(trial.seen))[:3_000])
    cells, y = trial.seen.take(chosen), trial.test.y[chosen]
    played = rehearse(trial.guard, trial.cost, cells, steps=10, coverage=coverage)
    mask = np.zeros(cells.observed.shape, dtype=np.bool_)
    mask[np.arange(len(cells))[:, np.newaxis], played.columns.T] = True
    for fields in (1, 2):
        verdict = trial.verdicts(misread(trial, cells, mask, fields).hidden(mask, trial.guard.layout))
        wrong = int(((verdict == NEGATIVE) & (y == 1)).sum())
        print(
            f"{fields} field{'s' * (fields > 1)} wrong among ten asked: false edible {wrong} of {int(y.sum()):,} poisonous, "
            f"answered {(verdict != UNKNOWN).mean():.1%}"
        )


def speed(trial: Trial) -> None:
    guard, layout = trial.guard, trial.guard.layout
    masks = np.unique(random_masks(100, len(layout.columns), trial.random), axis=0)
    picked = masks[trial.random.integers(0, len(masks), 100_000)]
    cells = trial.seen.take(trial.random.integers(0, len(trial.seen), 100_000)).hidden(picked, layout)
    begin = time.process_time()
    trial.verdicts(cells)
    print(f"{len(cells):,} rows with {len(masks)} masks: {len(cells) / (time.process_time() - begin):,.0f} rows a CPU second")
    begin = time.process_time()
    for _ in range(4):
        trial.full.novelty(trial.test.codes)
    rows_a_second = 4 * len(trial.test.y) / (time.process_time() - begin)
    print(f"  for comparison, the guard of rows as recorded: {rows_a_second:,.0f} rows a CPU second")
    fresh = PartialGuard.from_bytes(guard.to_bytes())
    many = random_masks(10_000, len(layout.columns), trial.random)
    rows = trial.seen.take(trial.random.integers(0, len(trial.seen), 10_000)).hidden(many, layout)
    begin = time.process_time()
    for at in range(2_000):
        fresh.judge(rows.take(slice(at, at + 1)))
    new = (time.process_time() - begin) / 2_000
    fresh.judge(rows)
    kept = sum(profile.usual.nbytes + 2 * profile.withheld.nbytes for profile in fresh.profiles.values()) / 2**20
    begin = time.process_time()
    for _ in range(2_000):
        fresh.judge(rows.take(slice(9_999, 10_000)))
    print(
        f"one row: mask seen before {(time.process_time() - begin) / 2_000 * 1e3:.3f} CPU ms, new mask {new * 1e3:.3f} ms; "
        f"after 10,000 random masks {len(fresh.profiles):,} are kept, {kept:.1f} MiB"
    )


FIGURES: dict[str, Callable[[Trial], None]] = {
    "recorded": as_recorded,
    "left-out": one_left_out,
    "all-given": all_given,
    "asked": asked,
    "held-back": held_back,
    "random": at_random,
    "wrong": one_wrong,
    "speed": speed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=ROOT / "data/raw/secondary_data.csv")
    parser.add_argument("--strangers", type=int, default=40, help="poisonous rows of each species left out")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--only", choices=list(FIGURES), action="append", help="only these figures")
    chosen = parser.parse_args()
    if not chosen.table.exists():
        sys.exit(f"{chosen.table} is missing: sporeprint extract fetches it")
    trial = Trial(chosen.table, configuration.load_settings(ROOT / "config/config.yaml", environ={}), chosen.strangers, chosen.seed)
    for name in chosen.only or FIGURES:
        FIGURES[name](trial)


if __name__ == "__main__":
    main()
