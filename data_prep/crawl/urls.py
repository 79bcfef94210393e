"""Clean posted URLs: the URL to fetch, and an id that variants of the same URL share.

URLs are parsed by the WHATWG standard (with ada), which normalizes IDNA, the case of the host,
default ports, dot segments and percent-encoding. Rules on hosts compare whole domain labels, never
substrings; the registered domain comes from the public suffix list bundled with tldextract.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from typing import NamedTuple
from urllib.parse import unquote

import ada_url
import tldextract
import xxhash

from data_prep.settings import Urls
from webtext_gpt.errors import UserError, explain
from webtext_gpt.files import read_text
from webtext_gpt.paths import readable_path

MALFORMED = "malformed URL"
OTHER_SCHEME = "not http"
MEDIA = "media or binary file"
PRIVATE = "private address"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

HOSTS_CACHED = 1 << 16

DUMP_BASE = "http://www.reddit.com/"
"""Base of relative URLs. Dumps hold cross-posts as `/r/...`, and few links as `//host/...`."""

# The semicolon is required: a bare `&copy=` is a query parameter.
_ENTITY = re.compile(r"&(?:[a-zA-Z][a-zA-Z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPES = {
    f"{byte:02x}": chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256)
}
_WRAPPERS = (  # pages that show another page and have its URL in their own
    re.compile(r"https?://web\.archive\.org/web/[0-9a-z_*]+/(?P<inner>.+)", re.I),
    re.compile(r"https?://(?:www\.)?archive\.(?:today|is|ph|li|vn|fo|md)/"
               r"(?:[0-9.\-]+|newest|o/\w+)/(?P<inner>https?:.+)", re.I),
    re.compile(r"https?://(?:www\.)?google\.[a-z.]+/amp/(?P<secure>s/)?(?P<inner>.+)", re.I),
    re.compile(r"https?://[^/]+\.cdn\.ampproject\.org/[a-z]/(?P<secure>s/)?(?P<inner>.+)", re.I),
)  # fmt: skip


class Link(NamedTuple):
    """One cleaned URL."""

    id: str  # 32 hex digits: XXH3 of the identity
    url: str  # the URL to fetch
    domain: str  # registered domain, such as `nytimes.com` or `bbc.co.uk`


class Host(NamedTuple):
    """A host with its registered domain; `reason` is "" unless its pages are rejected."""

    identity: str
    domain: str
    reason: str


@dataclass(frozen=True)
class UrlRules:
    """Rules for accepting and normalizing URLs.

    Attributes:
        hosts: For each reason, the domains that it rejects. An entry covers its subdomains, and
            may be a subdomain itself (`maps.google.com`).
        extensions: File extensions to reject, without the dot.
        tracking: Query parameters to drop; a name that ends in `*` is a prefix.
        unwrap: Whether to replace archive and AMP pages with the page that they show.
        allow_private: Whether private addresses are accepted (for tests).
    """

    hosts: Mapping[str, frozenset[str]]
    extensions: frozenset[str]
    tracking: tuple[str, ...]
    unwrap: bool = False
    allow_private: bool = False


def url_rules(settings: Urls, *, allow_private: bool = False) -> UrlRules:
    """Return the rules that settings state.

    Raises:
        UserError: The file of blocked domains cannot be read.
    """
    hosts = {reason: frozenset(names) for reason, names in settings.hosts.items()}
    hosts["blocked domain"] = frozenset(
        read_names(settings.blocked_domains, "urls.blocked_domains")
    )
    return UrlRules(
        hosts=hosts,
        extensions=frozenset(settings.extensions),
        tracking=tuple(settings.tracking),
        unwrap=settings.unwrap,
        allow_private=allow_private,
    )


def read_names(names: str | Iterable[object], key: str) -> list[str]:
    """Return names that are given as a list, or as a file with one name per line.

    Empty lines and lines that begin with # are left out.

    Args:
        names: the list, or the path of the file.
        key: the setting that gives them, for messages.

    Raises:
        UserError: The file cannot be read.
    """
    if not isinstance(names, str):
        return [str(name) for name in names]
    try:
        lines = read_text(readable_path(names, key)).splitlines()
    except OSError as error:
        raise UserError(f"{key}: the list of names cannot be read: {explain(error)}") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def url_cleaner(rules: UrlRules) -> Callable[[str], Link | str]:
    """Return a function that turns a posted URL into a `Link`, or into the reason to reject it.

    The URL to fetch has no credentials, fragment (except `#!`) or tracking parameters. The id also
    ignores the scheme, `www.`, a trailing slash, the order of parameters, and the case and
    needless use of percent-encoding.
    """
    host_of = _host_judge(rules)
    prefixes = tuple(name[:-1] for name in rules.tracking if name.endswith("*"))
    names = frozenset(name for name in rules.tracking if not name.endswith("*"))
    extensions = rules.extensions

    def kept(parameter: str) -> bool:
        name = parameter.partition("=")[0].lower()
        return bool(name) and name not in names and not name.startswith(prefixes)

    def clean(raw: str) -> Link | str:
        text = _unescaped(raw) if "&" in raw else raw
        if rules.unwrap:
            text = _unwrapped(text)
        try:
            relative = text.lstrip().startswith("/")
            href = (ada_url.URL(text, DUMP_BASE) if relative else ada_url.URL(text)).href
        except ValueError:
            return MALFORMED
        scheme, _, rest = href.partition("://")
        if scheme not in ("http", "https"):
            return OTHER_SCHEME
        rest, _, fragment = rest.partition("#")
        rest, _, query = rest.partition("?")
        authority, _, path = rest.partition("/")
        authority = authority.rpartition("@")[2]
        name, port = authority, ""
        if ":" in authority and not authority.endswith("]"):
            name, _, port = authority.rpartition(":")
        host = host_of(name)
        if host.reason:
            return host.reason
        if ("." in path or "%" in path) and _extension(path) in extensions:
            return MEDIA
        parameters = [p for p in query.split("&") if kept(p)] if query else []
        tail = f"#{fragment}" if fragment.startswith("!") else ""
        query = "?" + "&".join(parameters) if parameters else ""
        url = f"{scheme}://{authority}/{path}{query}{tail}"
        if len(parameters) > 1:
            query = "?" + "&".join(sorted(parameters))
        where = f"{path.rstrip('/')}{query}{tail}"
        if "%" in where:
            where = _ESCAPE.sub(_folded_escape, where)
        identity = f"{host.identity}:{port}/{where}" if port else f"{host.identity}/{where}"
        return Link(xxhash.xxh3_128_hexdigest(identity.encode()), url, host.domain)

    return clean


def _extension(path: str) -> str:
    """Return the extension of a path's last segment, in lower case; "" if it has none.

    Parameters after a semicolon do not count, and a percent-encoded dot is a dot.
    """
    name = path.rpartition("/")[2].partition(";")[0]
    if "%" in name:
        name = _ESCAPE.sub(_folded_escape, name)
    return name.rpartition(".")[2].lower() if "." in name else ""


def _unescaped(raw: str) -> str:
    """Resolve HTML entities, up to three times over (dumps hold `&amp;amp;`)."""
    for _ in range(3):
        if not _ENTITY.search(raw):
            break
        raw = _ENTITY.sub(lambda entity: unescape(entity[0]), raw)
    return raw


def _folded_escape(escape: re.Match[str]) -> str:
    return _ESCAPES[escape[1].lower()]


def _unwrapped(url: str) -> str:
    """Return the URL inside an archive or AMP wrapper, or the URL itself."""
    for pattern in _WRAPPERS:
        if match := pattern.match(url.strip()):
            inner = match["inner"]
            if "%3a%2f%2f" in inner[:16].lower():
                inner = unquote(inner)
            if re.match(r"https?:/", inner, re.I):
                return re.sub(r"^(https?):/+", r"\1://", inner, flags=re.I)
            scheme = "https" if match.groupdict().get("secure") else "http"
            return f"{scheme}://{inner}"
    return url


def _host_judge(rules: UrlRules) -> Callable[[str], Host]:
    # Private suffixes (blogspot.com) count as domains, as in WebText's own table of domains.
    registered = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    reason_of = {
        domain.lower().strip("."): reason
        for reason, domains in rules.hosts.items()
        for domain in domains
    }

    @lru_cache(HOSTS_CACHED)
    def judge(name: str) -> Host:
        host = name.rstrip(".")
        if (address := _address(host)) is not None:
            public = is_public(address) or rules.allow_private
            return Host(host, host, "" if public else PRIVATE)
        parts = registered(host)
        domain = parts.top_domain_under_public_suffix
        if not domain:
            local = rules.allow_private and host == "localhost"
            return Host(host, host, "" if local else MALFORMED)
        labels = host.split(".")
        for start in range(len(labels) - 1):
            if reason := reason_of.get(".".join(labels[start:])):
                return Host(host, domain, reason)
        bare = host[4:] if host.startswith("www.") and host != domain else host
        return Host(bare, domain, "")

    return judge


def is_public(address: IPAddress) -> bool:
    """Return whether an address is on the public internet, not loopback, private or link-local.

    An IPv6 address that embeds an IPv4 address (mapped, 6to4, Teredo, NAT64) is public only if
    both are.
    """
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address.teredo:
            inner = address.teredo[1]
        elif address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner is None or is_public(inner)
    return True


def _address(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
