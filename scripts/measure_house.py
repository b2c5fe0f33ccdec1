"""What the layout and the language of the source measure, as a table; of two trees side by side.

.venv/bin/python scripts/measure_house.py [BEFORE_TREE]
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Words that say that something was done, where a noun would say what it is.
PARTICIPLES = re.compile(r"\b(?:found|said|told|asked|given|wanted|looked|kept)\b")
#: Fields of a prediction's response that appear nowhere by chance.
RESPONSE_FIELDS = ("novelty_p", "classifier_output", "prediction_id", "latency_us")
MOST_LINES = 500
#: What the vocabulary replaces, as it stood in prose and messages.
OLD_PHRASES = (
    *("turned out to be true", "came true", "who is taken for whom", "taken for a known", "the gap between", "at the least +"),
    *("look at any time", "looked at any time", "wager", "holds at all times", "price of looking", "share alarm", "said again it changes"),
    *("a clock that jumps", "rows that wait together", "what stands for what", "kin are", "the lab ", "would have to change their value"),
    *("keeps the promise", "fallen slices", "moved the score", "after pauses that grow", "could not be asked", "strange values"),
    *("has not the role", "unlike the training rows"),
)


@dataclass(frozen=True)
class Tree:
    """A source tree.

    Attributes:
        root: the project's folder.
    """

    root: Path

    @property
    def package(self) -> Path:
        """The package's folder."""
        return self.root / "src" / "sporeprint"

    @cached_property
    def files(self) -> list[Path]:
        """Its modules."""
        return sorted(self.package.rglob("*.py"))

    @cached_property
    def texts(self) -> dict[Path, str]:
        """Each module's text."""
        return {path: path.read_text(encoding="utf-8") for path in self.files}

    @cached_property
    def syntax(self) -> dict[Path, ast.Module]:
        """Each module's syntax tree."""
        return {path: ast.parse(text) for path, text in self.texts.items()}

    def room(self, path: Path) -> str:
        """The package of a file, with the two levels of `storage` and `model_serving`; a module of the root is one of its own."""
        parts = path.relative_to(self.package).with_suffix("").parts
        return ".".join(parts[:-1]) or parts[0]

    def arrows(self) -> set[tuple[str, str]]:
        """Pairs of packages of which one imports from the other."""
        rooms = {".".join(path.relative_to(self.package).with_suffix("").parts): self.room(path) for path in self.files}
        pairs = set()
        for path, tree in self.syntax.items():
            for name in imported(tree):
                parts = name.removeprefix("sporeprint.").split(".")
                target = next((rooms[".".join(parts[:end])] for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in rooms), None)
                pairs |= {(self.room(path), target)} if target else set()
        return {(one, other) for one, other in pairs if one != other}

    def renamed_imports(self) -> int:
        """Imports of the package's own names under another name."""
        own = (node for tree in self.syntax.values() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        return sum(
            alias.asname not in (None, alias.name) for node in own if (node.module or "").startswith("sporeprint") for alias in node.names
        )

    def public_classes(self) -> Counter[str]:
        """How often each public class name is defined."""
        return Counter(
            node.name for tree in self.syntax.values() for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"
        )

    def lines_with_participles(self) -> int:
        """Lines of code and text that hold one of the words."""
        return sum(bool(PARTICIPLES.search(line)) for text in self.texts.values() for line in text.splitlines())

    def participle_names(self) -> Iterator[tuple[Path, str]]:
        """Variables, parameters, keywords, functions and classes whose name is such a word, and where."""
        for path, tree in self.syntax.items():
            for node in ast.walk(tree):
                name = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "name", None)
                if isinstance(name, str) and PARTICIPLES.fullmatch(name):
                    yield path, name

    def old_phrases(self) -> dict[str, int]:
        """Phrases that the vocabulary replaces -> how often they stand in source and documentation."""
        documents = [*(self.root / "docs").rglob("*.md"), *self.root.glob("*.md")]
        pages = [path.read_text(encoding="utf-8") for path in documents if "decisions" not in path.parts]
        everything = "\n".join([*self.texts.values(), *pages]).lower()
        return {phrase: count for phrase in OLD_PHRASES if (count := everything.count(phrase.lower()))}

    def lines(self, folder: str) -> int:
        """Lines of Python below a folder."""
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (self.root / folder).rglob("*.py"))

    def long_files(self) -> list[str]:
        """Files of more than so many lines."""
        return [path.name for path, text in self.texts.items() if len(text.splitlines()) > MOST_LINES]

    def measures(self) -> Iterator[tuple[str, str]]:
        """Each measure and its value."""
        rooms = {self.room(path) for path in self.files}
        yield "modules in the root", str(len(list(self.package.glob("*.py"))))
        yield "packages", str(len({path.parent for path in self.files}) - 1)
        yield "packages and modules of the root, imports between them", f"{len(rooms)}, {len(self.arrows())}"
        yield "modules", str(len(self.files))
        yield "lines of source", f"{self.lines('src'):,}"
        yield "lines of tests", f"{self.lines('tests'):,}"
        yield f"files over {MOST_LINES} lines", str(len(self.long_files()))
        yield "lines with a participle for a name (found, said, ...)", f"{self.lines_with_participles():,}"
        yield "names that are one", str(len(set(self.participle_names())))
        yield "imports renamed with `as`", str(self.renamed_imports())
        yield "public class names defined twice", str(sum(count > 1 for count in self.public_classes().values()))
        yield "phrases of the old vocabulary", str(sum(self.old_phrases().values()))
        for name in RESPONSE_FIELDS[:1]:
            yield f"source files that spell `{name}`", str(sum(name in text for text in self.texts.values()))


def imported(tree: ast.Module) -> Iterator[str]:
    """The package's own modules that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sporeprint":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("sporeprint."))


def main() -> None:
    """Print the table."""
    trees = [Tree(Path(name).resolve()) for name in sys.argv[1:2]] + [Tree(ROOT)]
    columns = [dict(tree.measures()) for tree in trees]
    print("| | " + " | ".join(["before", "now"][-len(trees) :]) + " |")
    print("|---|" + "---:|" * len(trees))
    for name in columns[-1]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")


if __name__ == "__main__":
    main()
