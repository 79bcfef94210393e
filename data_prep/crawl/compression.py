"""Downloader middleware that decompresses responses as `documents.py` decompresses archived ones.

Scrapy's own middleware drops a page whose body contradicts Content-Encoding.
"""

import scrapy
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes

from data_prep.crawl.body import undo_codings

FAULTS = "faults"
"""Key of a request's `meta` that holds the faults of the response's body."""


class Decompression(HttpCompressionMiddleware):
    """Middleware that undoes Content-Encoding, even if it is untrue or the body is cut."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler=crawler)
        self._most = crawler.settings.getint("DOWNLOAD_MAXSIZE")

    def process_response(
        self, request: scrapy.Request, response: Response, spider: scrapy.Spider | None = None
    ) -> Response:
        """Return the response with its body decompressed."""
        if not (codings := joined(response.headers, "Content-Encoding")):
            return response
        body, faults = undo_codings(response.body, codings.split(","), self._most + 1)
        if len(body) > self._most:
            raise IgnoreRequest("the decompressed body exceeds DOWNLOAD_MAXSIZE")
        request.meta[FAULTS] = faults
        headers = response.headers.copy()
        del headers["Content-Encoding"]
        kind = responsetypes.from_args(headers=headers, url=response.url, body=body)
        return response.replace(cls=kind, headers=headers, body=body)


def joined(headers: Headers, name: str) -> str:
    """Return the values of all headers with a name, joined by commas, or ""."""
    return ", ".join(value.decode("latin-1") for value in headers.getlist(name))
