"""corolla leaderboard: where the best submission stands."""

from pathlib import Path

from corolla.commands.common import slug
from corolla.errors import DONE


def leaderboard(competition: str | None = None, data: Path = Path("data"), top: int = 10) -> int:
    """Show the top of the leaderboard, where your best submission stands, and how the scores are spread.

    Args:
        competition: the slug; default: the competition that the data came from.
        data: the data folder that says which competition.
        top: how many teams to show.
    """
    from corolla.kaggle.leaderboard import leaderboard as fetch
    from corolla.kaggle.manifest import competition_of

    board = fetch(slug(competition) or competition_of(data))
    shown = list(board.standings[:top])
    if board.own is not None and board.own not in shown:
        shown.append(board.own)
    width = max((len(standing.team) for standing in shown), default=4)
    print(f"{'rank':>5}  {'team':{width}}  {'score':>8}  date")
    for standing in shown:
        mark = "  ← you" if standing == board.own else ""
        print(f"{standing.rank:5d}  {standing.team:{width}}  {standing.score:8.5f}  {standing.date}{mark}")
    if board.own is None:
        best = "nothing scored yet" if board.own_best is None else f"best score {board.own_best:.5f}"
        print(f"your team is not on the board ({best})")
    print("", *board.plot(), sep="\n")
    return DONE
