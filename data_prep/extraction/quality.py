"""Rules that tell articles from cookie walls, error pages and other text that is not prose."""

import ipaddress
import re
from collections import Counter

WALL_CHARACTERS = 2500  # a longer text that mentions cookies is an article about them

_WALLS = re.compile(
    r"""
    (?:please\s+)?(?:enable|activate|turn\s+on|allow)\s+(?:your\s+)?(?:java\s?script|cookies)
    | java\s?script\s+(?:is|seems\s+to\s+be|must\s+be|has\s+been)\s+(?:disabled|enabled|required)
    | requires?\s+java\s?script
    | (?:browser\s+does\s+not\s+support|without)\s+java\s?script
    | (?:we|this\s+(?:web)?site)\s+uses?\s+cookies
    | (?:accept|manage|reject)\s+(?:all\s+)?(?:cookies|cookie\s+(?:settings|preferences))
    | (?:are\s+you|you\s+are|you're)\s+(?:not\s+)?a\s+(?:robot|human)
    | (?:verify|confirm|prove)(?:ing)?\s+(?:that\s+)?you\s+are\s+(?:a\s+)?(?:human|not\s+a\s+robot)
    | complete\s+the\s+(?:re)?captcha | solve\s+th(?:e|is)\s+captcha
    | checking\s+(?:if\s+the\s+site\s+connection\s+is\s+secure|your\s+browser)
    | unusual\s+traffic\s+from | ddos\s+protection\s+by | attention\s+required!\s+\|\s+cloudflare
    | access\s+(?:to\s+this\s+page\s+has\s+been\s+)?denied
    | (?:^|\n)\s*(?:error\s+)?40[34]\b[^\n]{0,40}(?:not\s+found|forbidden|error)
    | (?:page|file|url)[^.\n]{0,60}\s(?:was\s+|could\s+|can)?not\s+(?:be\s+)?found
    | (?:500|502|503|504)\s+(?:internal\s+server\s+error|bad\s+gateway|service\s+unavailable
        |gateway\s+time-?out)
    | domain\s+(?:name\s+)?is\s+(?:for\s+sale|parked) | account\s+has\s+been\s+suspended
    """,
    re.IGNORECASE | re.VERBOSE,
)
_EMAIL = re.compile(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}\b", re.I)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])(?!\.\d)")
_STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_SENTENCE_END = (".", "!", "?", '"', "'", "\u201d", "\u2019")


def bot_wall(text: str) -> bool:
    """Return whether a text is a cookie wall, a captcha, a JavaScript notice or an error page."""
    return len(text) < WALL_CHARACTERS and _WALLS.search(text) is not None


def gopher_fault(text: str) -> str:
    """Return the first of Gopher's quality rules (Rae et al. 2021, table A1) that a text breaks.

    "" means that it breaks none.
    """
    words = text.split()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bullets = sum(line.startswith(("•", "-", "*", "●")) for line in lines)
    ellipses = sum(line.endswith(("...", "…")) for line in lines)
    alphabetic = sum(any(c.isalpha() for c in word) for word in words)
    lower = {word.strip(".,;:!?\"'()").lower() for word in words}
    repeated = sum(count - 1 for count in Counter(lines).values())
    mean = sum(map(len, words)) / max(len(words), 1)
    faults = {
        "number of words": not 50 <= len(words) <= 100_000,
        "length of words": not 3 <= mean <= 10,
        "hashes": text.count("#") > 0.1 * len(words),
        "ellipses": text.count("...") + text.count("…") > 0.1 * len(words),
        "bullets": bullets > 0.9 * len(lines),
        "lines that end in an ellipsis": ellipses > 0.3 * len(lines),
        "words without letters": alphabetic < 0.8 * len(words),
        "stop words": len(lower & _STOP_WORDS) < 2,
        "repeated lines": repeated > 0.3 * len(lines),
    }
    return next((name for name, broken in faults.items() if broken), "")


def c4_lines(text: str) -> str:
    """Apply C4's rules (Raffel et al. 2020, section 2.2); return "" if they reject the page.

    They keep lines that end a sentence, have at least five words and do not mention JavaScript,
    on pages of at least five sentences without placeholder text or curly brackets.
    """
    if "{" in text or "lorem ipsum" in text.lower():
        return ""
    lines = [
        line
        for line in text.splitlines()
        if line.rstrip().endswith(_SENTENCE_END)
        and len(line.split()) >= 5
        and "javascript" not in line.lower()
    ]
    kept = "\n".join(lines)
    return kept if len(re.findall(r"[.!?]+(?=[\s\"'\u201d\u2019]|$)", kept)) >= 5 else ""


def masked(text: str) -> str:
    """Replace e-mail addresses and public IPv4 addresses by placeholders."""
    text = _EMAIL.sub("email@example.com", text)
    return _IPV4.sub(_masked_address, text)


def _masked_address(match: re.Match[str]) -> str:
    try:
        public = ipaddress.ip_address(match[0]).is_global
    except ValueError:
        return match[0]
    return "192.0.2.1" if public else match[0]
