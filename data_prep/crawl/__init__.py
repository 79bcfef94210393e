"""Crawling: URLs, politeness, the spider, its journal, and web archives."""
