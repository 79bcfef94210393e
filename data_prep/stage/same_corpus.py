"""Compare the plan of a folder with that of this call, key by key: are they the same corpus?"""

from collections.abc import Sequence

from data_prep.stage.manifest import Manifest


def difference_of(there: Manifest, here: Manifest, may_lack: Sequence[str]) -> str:
    """Describe the first difference between two plans; "" if they are the same corpus.

    `there` may lack the settings `may_lack`.
    """
    for key in ("stage", "format"):
        if there.get(key) != here[key]:
            return f"{key} is {there.get(key)!r} there, {here[key]!r} here"
    theirs, ours = there.get("config", {}), here["config"]
    for key in sorted(theirs.keys() | ours.keys()):
        if key not in theirs:
            if key not in may_lack:
                return f"{key} is not recorded there, {ours[key]!r} here"
        elif theirs[key] != ours.get(key):
            return f"{key} is {theirs.get(key)!r} there, {ours.get(key)!r} here"
    before = {entry["xxh3"]: entry["name"] for entry in there.get("inputs", [])}
    now = {entry["xxh3"]: entry["name"] for entry in here["inputs"]}
    if before.keys() != now.keys():
        changed = sorted(before[k] for k in before.keys() - now.keys())
        added = sorted(now[k] for k in now.keys() - before.keys())
        return f"inputs differ (there: {changed}, here: {added})"
    return ""
