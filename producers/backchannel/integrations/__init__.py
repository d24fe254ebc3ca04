"""Thin bridges to the libraries that bots call models with, and to what bots live in.

Each file is imported only when it is used: the base install stays aiokafka and pydantic. What the
former share stands beside them: ``payload`` (what answers hold), ``outcome`` (how calls end),
``providers`` (one name for each provider), ``stainless`` (watching clients of one shape).
"""

__all__: list[str] = []
