"""What a statement for MariaDB may be that a user gives: one, that reads, and that names no file.

The second wall: the transaction is read-only already, and the account for reports may only SELECT. But a person may have configured one
that may do more (FILE, SUPER), and SET, KILL and FLUSH heed no read-only transaction.
"""

import re

from sporeprint.errors import UsageError

#: What a statement that reads can begin with.
READS = ("SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN")
#: Words that make such a statement write (INTO OUTFILE, INTO DUMPFILE) or read a file; as a name, they can be quoted.
REFUSED = ("INTO", "LOAD_FILE")

#: One piece of a statement in MariaDB's grammar with ANSI_QUOTES: text, quoted names, comments, words, anything else. A backslash
#: escapes in text only. A comment that begins with ! or M! is no comment: MariaDB runs what it says.
_PIECE = re.compile(
    r"""
      (?P<text>'(?:[^'\\]|\\.|'')*')
    | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<run>/\*M?!)
    | (?P<comment>/\*.*?\*/|\#[^\n]*|--(?=[\s\x00-\x1f]|\Z)[^\n]*)
    | (?P<word>[A-Za-z_$][\w$]*)
    | (?P<end>;)
    | (?P<broken>['"`]|/\*)
    | (?P<other>\s+|[0-9]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)


def one_that_reads(sql: str) -> str:
    """The statement without a semicolon at its end.

    Raises:
        UsageError: it is none, more than one, or can do more than read from the database.
    """
    words: list[str] = []
    ended, last, name = False, 0, ""
    for piece in _PIECE.finditer(sql):
        kind = piece.lastgroup
        if kind == "broken":
            raise UsageError(f"a quote or comment that begins with {piece[0]} does not end")
        if kind == "run":
            raise UsageError(f"{piece[0]} ... */ is no comment for MariaDB, which would run it; leave it out")
        if kind == "end":
            ended = True
        elif kind != "comment" and not piece[0].isspace():
            if ended:
                raise UsageError("expected one statement, there is something after the first ';'")
            last = piece.end()
            # A quoted name before a parenthesis calls the function of that name.
            words += [piece[0].upper() if kind == "word" else name if piece[0] == "(" else ""]
            name = piece[0][1:-1].upper() if kind == "name" else ""
    first = next((word for word in words if word), "")
    if not first:
        raise UsageError("expected a statement, as in: SELECT * FROM dim_model")
    if first not in READS:
        raise UsageError(f"only statements that read can be run ({', '.join(READS)}), not {first}")
    if refused := next((word for word in REFUSED if word in words), None):
        raise UsageError(f"{refused} is not allowed here: it reaches beyond the warehouse; a column of that name goes in double quotes")
    return sql[:last]
