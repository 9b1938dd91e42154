"""`towline trust init|bump|rotate`: drafts of the next root. Nothing of them counts before publish.

A draft is made from the newest root, or from the draft that is there: several changes make one
root, and what had been signed of it is signed anew.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli import root_drafts, signers, trust_show
from towline.cli.all_or_nothing import AllOrNothing
from towline.cli.durations import seconds
from towline.cli.passphrases import new_passphrase
from towline.cli.printing import tell
from towline.cli.roots import Chain, find_chain, short
from towline.cli.settings import Settings, load_fleet
from towline.schemas.envelope import SIGNATURES_LIMIT
from towline.schemas.keys import PrivateKey, PublicKey
from towline.schemas.problems import Place, Problem
from towline.schemas.root import Role, Root

LIFE = "540d"
_THROW_AWAY = Path(".towline/keys/root.pem")

Repository = Annotated[
    Path | None, typer.Option("--repo", metavar="DIR", help="The fleet repository; default: here.")
]
Life = Annotated[str, typer.Option("--expires", metavar="D", help="How long the root holds.")]
Plain = Annotated[
    bool, typer.Option("--no-passphrase", help="Write new keys as they are, to be read by anyone.")
]
New = Annotated[
    list[str] | None,
    typer.Option("--new", metavar="KEY", help="A FILE, made when missing, or URI#PUBLIC-FILE."),
]


def init_command(
    keys: Annotated[Path, typer.Option("--keys", metavar="DIR", help="Where new keys go.")],
    root_keys: Annotated[int, typer.Option(min=1, max=SIGNATURES_LIMIT // 2)] = 3,
    threshold: Annotated[int, typer.Option(min=1, help="Root keys that must sign.")] = 2,
    root_key: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Instead of a new one: URI#PUBLIC-FILE.")
    ] = None,
    release_key: Annotated[str | None, typer.Option(metavar="KEY", help="The same.")] = None,
    hand_over: Annotated[
        bool, typer.Option("--hand-over", help="The throw-away keys vouch: devices go on.")
    ] = False,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Begin anew with root 1: devices enrol again.")
    ] = False,
    no_passphrase: Plain = False,
    expires: Life = LIFE,
    repository: Repository = None,
) -> None:
    """Make keys for production and the draft of the root that names them.

    towline trust init --keys ../acme-keys --afresh
    """
    settings = load_fleet(repository)
    chain = find_chain(settings.fleet, str(settings.organization))
    version = _first_version(chain, hand_over=hand_over, afresh=afresh)
    _refuse_draft(settings)
    own, taken = keys.resolve(), [signers.public_key(key) for key in root_key or ()]
    _refuse_in_git(settings, own, "--keys")
    names = [own / f"root-{n}.pem" for n in range(1, root_keys - len(taken) + 1)]
    names += [] if release_key else [own / "release.pem"]
    secret = None if no_passphrase else new_passphrase(f"the offline keys in {own}")
    with AllOrNothing() as files:
        made = {file.name: signers.make(files, file, secret).public for file in names}
        # The server reads its own alone: a passphrase that lies beside it would guard nothing.
        online = signers.make(files, own / "online.pem", None).public
        own.chmod(0o700)
        release = signers.public_key(release_key) if release_key else made.pop("release.pem")
        new = Root(
            version=version,
            organization=str(settings.organization),
            expires=int(time.time()) + seconds(expires),
            root=_role([*taken, *made.values()], threshold, "root"),
            release=Role((release,), 1),
            online=Role((online,), 1),
        )
        old_key = settings.repository / _THROW_AWAY
        vouching = [PrivateKey.load(old_key)] if hand_over else []
        file = root_drafts.draft_file(settings.fleet, version)
        files.write(file, root_drafts.unsigned(new).also_signed_by(*vouching).to_bytes())
    tell(f"made {len(names) + 1} keys in {own}, each with its public key beside it")
    _tell_draft(settings, chain if hand_over else None)
    tell(f"\n  release.pem  signs releases: release_key in {settings.repository / 'towline.toml'}")
    tell("  online.pem   goes to the server: its setting online_key")
    tell("  root-*.pem   part them, one person or place each, and take them off this machine")


def bump_command(expires: Life = LIFE, repository: Repository = None) -> None:
    """Draft the next root as this one is, with a later end.

    towline trust bump --expires 540d
    """
    settings = load_fleet(repository)
    _draft(settings, _next_root(settings), expires)


def rotate_online_command(
    new: New = None,
    keep: Annotated[bool, typer.Option("--keep", help="The old keys stay, too.")] = False,
    expires: Life = LIFE,
    repository: Repository = None,
) -> None:
    """Draft a root with another online key: the old one is worth nothing from then on.

    towline trust rotate online --new ../acme-keys/online-2.pem
    """
    # The server reads its own alone: a passphrase that lies beside it would guard nothing.
    _rotate("online", load_fleet(repository), new, expires, keep=keep, is_plain=True)


def rotate_release_command(
    new: New = None,
    keep: Annotated[bool, typer.Option("--keep", help="The old keys stay, too.")] = False,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="Release keys that must sign; default: as it is.")
    ] = None,
    no_passphrase: Plain = False,
    expires: Life = LIFE,
    repository: Repository = None,
) -> None:
    """Draft a root with another release key; then `towline release resign`, before publish.

    towline trust rotate release --new ../acme-keys/release-2.pem
    """
    settings = load_fleet(repository)
    _rotate("release", settings, new, expires, threshold, keep=keep, is_plain=no_passphrase)
    tell("next: towline release resign --all-live --key KEY, so that the new key vouches")


def rotate_root_command(
    new: New = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="KEYID|KEY", help="Its beginning, or a file of it.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="Root keys that must sign; default: as it is.")
    ] = None,
    no_passphrase: Plain = False,
    expires: Life = LIFE,
    repository: Repository = None,
) -> None:
    """Draft a root with other root keys; the old and the new ones sign it.

    towline trust rotate root --remove 3fa9 --new ../acme-keys/root-4.pem
    """
    settings = load_fleet(repository)
    root = _next_root(settings)
    gone = [_key_of(root.root, word) for word in remove or ()]
    left = [key for key in root.root.keys if key not in gone]
    with AllOrNothing() as files:
        keys = [*left, *_taken(files, settings, new, is_plain=no_passphrase)]
        if tuple(keys) == root.root.keys and threshold in (None, root.root.threshold):
            remedy = "say --new KEY, --remove KEYID or --threshold"
            raise Problem("nothing would change", remedy=remedy)
        role = _role(keys, threshold or root.root.threshold, "root")
        _draft(settings, replace(root, root=role), expires)


def _first_version(chain: Chain | None, *, hand_over: bool, afresh: bool) -> int:
    if chain is None:
        return 1
    if not chain.newest.is_development:
        raise Problem(
            f"root {chain.newest.version} has keys for production already",
            remedy="towline trust rotate online, release or root",
        )
    if hand_over == afresh:
        raise Problem(
            f"root {chain.newest.version} has throw-away keys, and something must become of it",
            remedy="say --afresh to begin anew (devices enrol again), or --hand-over to let the"
            " throw-away keys vouch for the new ones (devices go on, if those were never stolen)",
        )
    return chain.newest.version + 1 if hand_over else 1


def _refuse_draft(settings: Settings) -> None:
    draft = root_drafts.find(settings.fleet)
    if draft is not None:
        raise Problem(
            f"there is a draft of root {draft.root.version} already",
            remedy="publish or remove it",
            place=Place(str(draft.path)),
        )


def _refuse_in_git(settings: Settings, place: Path, option: str) -> None:
    """Of a private key; what lies in `.towline` is never committed."""
    inside, own = settings.repository.resolve(), place.resolve()
    if own.is_relative_to(inside) and not own.is_relative_to(inside / ".towline"):
        raise Problem(
            f"{place} lies in the repository, and keys must never be committed",
            remedy=f"choose a place beside it: {option} {inside.parent / 'keys'}",
        )


def _next_root(settings: Settings) -> Root:
    """What the next root is made from: the draft that is there, else the newest root."""
    chain = find_chain(settings.fleet, str(settings.organization))
    draft = root_drafts.find(settings.fleet)
    if draft is not None:
        root_drafts.predecessor(draft, chain)
        return draft.root
    if chain is None:
        raise Problem("there is no root yet", remedy="towline trust init --keys DIR")
    return replace(chain.newest, version=chain.newest.version + 1)


def _draft(settings: Settings, new: Root, expires: str) -> None:
    """Write the draft, without the signatures of one that said something else."""
    new = replace(new, expires=int(time.time()) + seconds(expires))
    file = root_drafts.draft_file(settings.fleet, new.version)
    was_there = file.exists()
    with AllOrNothing() as files:
        files.write(file, root_drafts.unsigned(new).to_bytes())
    if was_there:
        tell("changed the draft that was there: it is signed anew from the beginning")
    _tell_draft(settings, find_chain(settings.fleet, str(settings.organization)))


def _tell_draft(settings: Settings, chain: Chain | None) -> None:
    draft = root_drafts.find(settings.fleet)
    assert draft is not None
    for line in trust_show.draft_lines(draft, chain, int(time.time())):
        tell(line)
    tell("next: towline trust sign --key KEY, as often as it says; then towline trust publish")


def _rotate(
    name: str,
    settings: Settings,
    new: Sequence[str] | None,
    expires: str,
    threshold: int | None = None,
    *,
    keep: bool,
    is_plain: bool,
) -> None:
    """Draft a root in which the role of that name, `online` or `release`, has other keys."""
    root = _next_root(settings)
    former: Role = getattr(root, name)
    if not new:
        raise Problem(f"nothing says which {name} key comes", remedy="--new FILE makes one")
    with AllOrNothing() as files:
        keys = _taken(files, settings, new, is_plain=is_plain)
        kept = [key for key in former.keys if keep and key not in keys]
        changed: dict[str, Any] = {name: _role([*kept, *keys], threshold or former.threshold, name)}
        _draft(settings, replace(root, **changed), expires)


def _taken(
    files: AllOrNothing, settings: Settings, new: Sequence[str] | None, *, is_plain: bool
) -> list[PublicKey]:
    """Public keys as they were named; a file that is missing is made."""
    private = [signers.path_of(key) for key in new or () if signers.is_private(key)]
    for file in private:
        _refuse_in_git(settings, file, "--new")
    missing = [file for file in private if not file.exists()]
    secret = None if is_plain or not missing else new_passphrase(", ".join(map(str, missing)))
    for file in missing:
        signers.make(files, file, secret)
        tell(f"made {file}, and its public key {file}{signers.PUBLIC_SUFFIX}")
    return [signers.public_key(key) for key in new or ()]


def _role(keys: Sequence[PublicKey], threshold: int, name: str) -> Role:
    if len(set(keys)) != len(keys):
        raise Problem(f"one key is named twice as a {name} key")
    if threshold > len(keys):
        raise Problem(
            f"{threshold} {name} keys would have to sign, and there are {len(keys)}",
            remedy=f"--threshold {len(keys)}, or more keys",
        )
    return Role(tuple(keys), threshold)


def _key_of(role: Role, word: str) -> PublicKey:
    if Path(word).is_file():
        named = signers.public_key(word)
        found = [key for key in role.keys if key == named]
    else:
        found = [key for key in role.keys if key.keyid.startswith(word)]
    if len(found) != 1:
        raise Problem(
            f"{word} names {len(found)} of the root keys",
            remedy=f"one of {', '.join(map(short, role.keys))}",
        )
    return found[0]
