"""`corolla leaderboard`: the top, the place of your own best submission, and the spread of the scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from corolla.errors import Failure
from corolla.kaggle.client import Kaggle, connect
from corolla.kaggle.retry import pages
from corolla.kaggle.submissions import list_submissions, request

PAGE_SIZE = 200
BLOCKS = " ▁▂▃▄▅▆▇█"
LABEL = 8  # columns of a score below the histogram


@dataclass(frozen=True)
class Standing:
    """A team's place."""

    rank: int
    team: str
    score: float
    date: str


@dataclass(frozen=True)
class Leaderboard:
    """All teams with a score, best first."""

    competition: str
    standings: tuple[Standing, ...]
    own: Standing | None
    """The own team's place."""
    own_best: float | None
    """The best score of the own submissions, also where the team is not on the board (yet)."""

    def plot(self, *, width: int = 60, height: int = 6) -> list[str]:
        """Return a histogram of the scores as text, `width` columns by `height` lines, with a mark below your own best.

        Trial submissions, the scores below the 5th percentile, would squeeze the rest: they are drawn left of a line,
        on a scale of their own.
        """
        scores = np.array([standing.score for standing in self.standings])
        least, low, high = float(scores.min()), float(np.quantile(scores, 0.05)), float(scores.max())
        if high <= low:
            low, high = low - 0.5, high + 0.5
        left = max(LABEL, width // 6) if least < low else 0
        edges = np.concatenate([np.linspace(least, low, left + 1)[:-1], np.linspace(low, high, width - left + 1)])
        counts, _ = np.histogram(scores, bins=edges)
        eighths = np.ceil(counts / counts.max() * height * 8).astype(int)
        bars = ["".join(BLOCKS[int(np.clip(n - 8 * row, 0, 8))] for n in eighths) for row in reversed(range(height))]
        rule = "│" if left else ""
        lines = [f"{bar[:left]}{rule}{bar[left:]}".rstrip() for bar in bars]
        if self.own_best is not None:
            column = int(np.clip(np.searchsorted(edges, self.own_best, side="right") - 1, 0, width - 1))
            lines.append(" " * (column + (left > 0 and column >= left)) + f"▲ you, {self.own_best:.5f}")
        scale = f"{f'{least:.4f}':<{left}}{rule}" if left else ""
        lines.append(f"{scale}{low:<{width - left - LABEL}.4f}{high:>{LABEL}.4f}")
        apart = f"; left of the line the lowest {int((scores < low).sum())}, on a scale of their own" if left else ""
        return [*lines, f"teams by score ({len(scores)} in all{apart})"]


def leaderboard(competition: str, *, kaggle: Kaggle | None = None) -> Leaderboard:
    """Return the whole leaderboard of a competition, as Kaggle shows it now.

    Raises:
        Failure: there are no scores on it.
    """
    kaggle = kaggle or connect()
    own = list_submissions(kaggle, competition)
    rows = [row for page in pages(lambda token: _page(kaggle, competition, token)) for row in page.submissions or []]
    standings = tuple(
        Standing(
            rank, row.team_name or "", score, row.submission_date.date().isoformat() if row.submission_date else ""
        )
        for rank, (row, score) in enumerate(((row, _number(row.score)) for row in rows), 1)
        if score is not None
    )
    if not standings:
        raise Failure(f"{competition}: its leaderboard shows no scores yet")
    teams = {submission.team_name for submission in own if submission.team_name}
    scores = [
        score for s in own for score in (_number(s.private_score) or _number(s.public_score),) if score is not None
    ]
    return Leaderboard(
        competition=competition,
        standings=standings,
        own=next((standing for standing in standings if standing.team in teams), None),
        own_best=max((score for score in scores if score is not None), default=None),
    )


def _page(kaggle: Kaggle, competition: str, token: str) -> Any:
    """Return one page of the leaderboard."""
    from kagglesdk.competitions.types.competition_api_service import ApiGetLeaderboardRequest

    asked = ApiGetLeaderboardRequest()
    asked.competition_name, asked.page_size, asked.page_token = competition, PAGE_SIZE, token
    return request(kaggle, lambda client: client.get_leaderboard(asked), competition)


def _number(score: str | None) -> float | None:
    """Return a score as a number; None where there is none."""
    try:
        return float(score or "")
    except ValueError:
        return None
