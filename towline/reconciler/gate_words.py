"""A batch's gate in words: how many passed, are needed, and may fail. Pure."""

from towline.reconciler.verdict import Tally


def errors_allowed(members: int, threshold: int) -> int:
    """The most members of so many that may fail with `threshold` percent needed."""
    return members - -(-members * threshold // 100)


def gate_words(tally: Tally, threshold: int) -> str:
    """`97 % of 95 % needed, 2 of 5 errors allowed, 12 to go`."""
    if not tally.members:
        return f"{threshold} % needed"
    words = []
    if tally.verdicts:
        words.append(f"{tally.passed * 100 // tally.verdicts} % of {threshold} % needed")
    else:
        words.append(f"no verdict yet, {threshold} % needed")
    words.append(_errors(tally.failed, errors_allowed(tally.members, threshold)))
    if tally.outstanding:
        words.append(f"{tally.outstanding} to go")
    return ", ".join(words)


def _errors(failed: int, allowed: int) -> str:
    if allowed == 0:
        return f"{failed} failed, none allowed" if failed else "no error allowed"
    return f"{failed} of {allowed} {'error' if allowed == 1 else 'errors'} allowed"
