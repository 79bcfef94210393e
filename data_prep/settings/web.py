"""Settings of `links.py` and `pages.py`: rules for links, and for fetching them."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from data_prep.settings.common import Engine, Out, Parallel, Paths
from webtext_gpt.settings.base import Settings, keys, setting
from webtext_gpt.settings.kinds import (
    Number,
    OneOf,
    PathText,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Either, Listed, Named

Names = Listed(Text("a name"), empty=True)
NamesOrFile = Either((Listed(Text("a name"), empty=True, bare=False), PathText(remote=True)))


class Urls(Settings):
    """`urls=webtext`: rules for accepting and normalizing URLs, as close to WebText as is known."""

    hosts: Annotated[dict[str, list[str]], Named(Names)] = setting(
        dict, "rejected domains by reason; an entry covers its subdomains"
    )
    extensions: Annotated[list[str], Names] = setting(
        list, "extensions of paths that are not pages"
    )
    tracking: Annotated[list[str], Names] = setting(
        list, "query parameters to drop from URLs; a name that ends in * is a prefix"
    )
    blocked_domains: Annotated[list[str] | str, NamesOrFile] = setting(
        list, "further domains to reject: a list, or one file with a name per line"
    )
    unwrap: Annotated[bool, Switch()] = setting(
        False, "replace archive.* and AMP pages with the page that they show"
    )


class Links(Parallel):
    """Reddit submission dumps -> links (Parquet), as for WebText: at least 3 karma."""

    examples: ClassVar[dict[str, str]] = {
        "{command} dumps=[RS_2013-*.zst] out=links": "the links of a year",
        "{command} dumps=RS_v2_2005-12.zst out=links min_karma=10": "a higher threshold",
        "{command} dumps=dumps/ out=links karma=sum over_18=false": "karma of all posts of a URL",
        "{command} dumps=dumps/ out=links urls.blocked_domains=[example.com]": "without a domain",
        "{command} dumps=dumps/ out=links engine=ray engine.address=auto": "on a Ray cluster",
    }

    dumps: Annotated[list[str], Paths] = setting(
        ..., "Reddit dumps: files, folders or globs, [RS_2013-*.zst]", common=True
    )
    out: Out = setting(..., "folder to create", common=True)
    min_karma: Annotated[int, Whole()] = setting(
        3, "karma that a link needs; 3 as in the paper, section 2.1", common=True
    )
    karma: Annotated[str, OneOf(("max", "sum"))] = setting(
        "max", "max: one post must reach min_karma; sum: all posts of a URL together", common=True
    )
    over_18: Annotated[bool, Switch()] = setting(
        True, 'false rejects posts marked "over 18"', common=True
    )
    blocked_subreddits: Annotated[list[str] | str, NamesOrFile] = setting(
        list, "subreddits to reject: names, or one file with a name per line"
    )
    allow_private: Annotated[bool, Switch()] = setting(
        False, "keep links to loopback and private networks; for tests only"
    )
    urls: Urls = keys(Urls, common=False)
    engine: Engine = keys(Engine)


class Politeness(Settings):
    """Rates, limits and retries with which the crawler treats hosts."""

    user_agent: Annotated[str, Text("text that says who you are")] = setting(
        "webtext-gpt/0.1 (research crawler; set politeness.user_agent to say who you are)",
        "User-Agent header",
        common=True,
    )
    delay: Annotated[float, Number(0, unit="seconds")] = setting(
        1.0, "minimum time between requests to a host; throttling may add to it", common=True
    )
    per_host: Annotated[int, Whole(1, unit="requests")] = setting(1, "requests at once to a host")
    concurrency: Annotated[int, Whole(1, unit="requests")] = setting(
        64, "requests at once in total", common=True
    )
    timeout: Annotated[float, Number(above=0, unit="seconds")] = setting(
        30.0, "time for a complete response"
    )
    max_bytes: Annotated[int, Whole(1, unit="bytes")] = setting(
        5_000_000, "maximum size of a body, compressed or decompressed"
    )
    retries: Annotated[int, Whole(0)] = setting(2, "retries after network failures, 429 and 5xx")
    max_wait: Annotated[float, Number(0, unit="seconds")] = setting(
        120.0, "maximum Retry-After that is honored, and maximum back-off"
    )
    max_redirects: Annotated[int, Whole(0)] = setting(8, "redirects in a row")
    verify_tls: Annotated[bool, Switch()] = setting(
        False, "refuse hosts with an invalid certificate; many old sites have expired ones"
    )


class Pages(Settings):
    """Links -> pages (WARC) and a status for every URL.

    One process fetches them. To use several machines, give each a part: shard=1/4, shard=2/4, ...
    """

    elsewhere: ClassVar[dict[str, str]] = {
        "engine": "a crawl is one process, by which each site is asked at its own pace; on several "
        "machines, give each a part of the sites: shard=1/4, shard=2/4, ...",
    }

    examples: ClassVar[dict[str, str]] = {
        "{command} links=links out=pages": "fetch every link once",
        '{command} links=links out=pages politeness.user_agent="me (me@example.org)"': (
            "say who you are"
        ),
        "{command} links=links out=pages-1 shard=1/4": "the first of four machines",
        "{command} links=links out=pages politeness.concurrency=16": "more slowly",
        "{command} links=links out=pages archive_bytes=100000000": "smaller archives",
    }

    links: Annotated[list[str], Paths] = setting(
        ..., "files, folders or globs of Parquet with id, url and domain", common=True
    )
    out: Out = setting(..., "folder to create", common=True)
    shard: Annotated[str, Text("i/n, as 1/4", pattern=r"[1-9]\d*/[1-9]\d*")] = setting(
        "1/1", "part to fetch, divided by registered domain, one part per machine", common=True
    )
    archive_bytes: Annotated[int, Whole(1, unit="bytes")] = setting(
        1_000_000_000, "size after which a new WARC file is started"
    )
    proxies: Annotated[bool, Switch()] = setting(
        False, "connect through http_proxy and https_proxy of the environment, except for no_proxy"
    )
    accept_unreachable: Annotated[bool, Switch()] = setting(
        False, "count links as dead even if no other host answers; else the network is down"
    )
    allow_private: Annotated[bool, Switch()] = setting(
        False, "fetch from loopback and private networks; for tests only"
    )
    politeness: Politeness = keys(Politeness)
    urls: Urls = keys(Urls, common=False)

    @model_validator(mode="after")
    def _existing_part(self) -> Self:
        part, parts = map(int, self.shard.split("/"))
        if part > parts:
            raise ValueError(f"shard={self.shard}: expected i/n with 1 <= i <= n")
        return self
