"""One table in the three forms that papers and spreadsheets take."""

import csv
import io
from dataclasses import dataclass


@dataclass
class Table:
    """Head and lines of text."""

    head: list[str]
    lines: list[list[str]]

    def markdown(self) -> str:
        """A pipe table; `|` in a cell is escaped."""
        rows = [self.head, *self.lines]
        cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
        ruler = ["---"] + ["---:"] * (len(self.head) - 1)
        return "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], ruler, *cells[1:]])

    def latex(self) -> str:
        """A tabular with booktabs rules."""
        body = [" & ".join(map(latex_text, row)) + r" \\" for row in [self.head, *self.lines]]
        columns = "l" + "r" * (len(self.head) - 1)
        top = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule"]
        return "\n".join([*top, *body[1:], r"\bottomrule", r"\end{tabular}"])

    def csv(self) -> str:
        """Comma-separated, with plain minus signs so that a spreadsheet reads numbers."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([[cell.replace("−", "-") for cell in row] for row in [self.head, *self.lines]])
        return out.getvalue()

    def forms(self) -> list[tuple[str, str]]:
        """Name and text of each form."""
        return [("Markdown", self.markdown()), ("LaTeX", self.latex()), ("CSV", self.csv())]


LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "−": r"$-$",
    "∪": r"$\cup$",
    "×": r"$\times$",
    "—": "--",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "∞": r"$\infty$",
    "\n": " ",
}


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it stands."""
    return "".join(LATEX.get(sign, sign) for sign in text)
