"""What identifies a person or opens a door is taken out of free text: patterns, then a bot's hook.

Patterns are a net, not a proof: they find what looks like an e-mail address, a phone or card
number, an IBAN or a key. What must never leave a bot should not be put into an event.
"""

import re

__all__ = ["mask_text"]


def mask_text(text: str) -> str:
    """Returns the text with ``[email]``, ``[phone]``, ``[card]``, ``[iban]`` and ``[key]`` in the
    place of what looks like one. Takes time in proportion to the text's length."""
    lowered = text.lower()
    for hints, pattern, replacement in _KEYS:
        # Looking for a few letters costs a hundredth of running the pattern.
        if any(hint in lowered for hint in hints):
            text = pattern.sub(replacement, text)
    if "@" in text or "%40" in text:
        text = _EMAIL.sub("[email]", text)
    if _LONG_NUMBER.search(text):
        text = _IBAN.sub(_iban, text)
        text = _NUMBER.sub(_number, text)
    return text


_LOCKED_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret|client[_-]?secret|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|authorization"
)
_KEYS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (
        ("private key",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL
        ),
        "[key]",
    ),
    (("eyj",), re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"), "[key]"),  # JWT
    (
        ("sk-", "sk_", "rk_", "pk_"),  # OpenAI, Anthropic, Stripe
        re.compile(r"(?<![A-Za-z0-9])[srp]k[-_][\w-]{16,}"),
        "[key]",
    ),
    (("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "[key]"),  # AWS
    (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"),
        "[key]",
    ),
    (("xox",), re.compile(r"\bxox[a-z]-[A-Za-z0-9-]{10,}"), "[key]"),  # Slack
    (("aiza",), re.compile(r"\bAIza[\w-]{35}"), "[key]"),  # Google
    (("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{20,}"), "[key]"),  # Hugging Face
    (
        ("bearer", "basic"),
        re.compile(r"(?i)\b(bearer|basic)\s+(?=\S*[\d=])[\w.~+/=-]{8,}"),
        r"\1 [key]",
    ),
    (
        ("pass", "pwd", "secret", "key", "authorization"),
        re.compile(
            rf"(?i)\b({_LOCKED_NAMES})([\"']?\s{{0,3}}[=:]\s{{0,3}}[\"']?)(?!\[key\]|bearer|basic)[^\s\"'&,;]{{4,}}"
        ),
        r"\1\2[key]",
    ),
    (
        ("token", "signature", "code="),
        re.compile(
            r"(?i)\b((?:access|auth|refresh|id|session)?[_-]?token|signature|code)"
            r"([\"']?\s{0,3}[=:]\s{0,3}[\"']?)(?=[^\s\"'&,;]*\d)[^\s\"'&,;]{6,}"
        ),
        r"\1\2[key]",
    ),
    (("://",), re.compile(r"(?<=://)[^\s/@:]{0,128}:[^\s/@]{1,256}@"), "[key]@"),  # user:password@
)

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}?(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
)
_LONG_NUMBER = re.compile(r"\d(?:[ ().\-/]{0,3}\d){6}|[A-Za-z]{2}\d\d ?[A-Za-z0-9]{4}")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?: ?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
# Not inside a word, a decimal number or a UUID.
_NUMBER = re.compile(r"(?<![\w.\-])[+(]{0,2}\d(?:[ ().\-/]{0,3}\d){6,18}(?!-?\w)")
_DATE = re.compile(r"(?:19|20)\d\d([-/.])\d\d?\1\d\d?|\d\d?([-/.])\d\d?\2(?:19|20)\d\d")
_DOTTED_PHONE = re.compile(r"\d{3}\.\d{3}\.\d{4}")


def _number(found: re.Match[str]) -> str:
    text = found[0]
    digits = "".join(filter(str.isdecimal, text))
    count = len(digits)
    if 13 <= count <= 19 and digits[0] in "23456" and _luhn(digits):
        return "[card]"
    if text[0] == "+" or digits.startswith("00"):
        return "[phone]" if 8 <= count <= 15 else text
    if text.isdecimal():  # a count or an id, unless it begins as national numbers do
        return "[phone]" if digits[0] == "0" and 10 <= count <= 12 else text
    if not 9 <= count <= 15 or _DATE.match(text):
        return text
    if "." in text and not _DOTTED_PHONE.fullmatch(text):  # an address, a version
        return text
    return "[phone]"


def _luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _iban(found: re.Match[str]) -> str:
    """Masks the longest beginning that has an IBAN's check digits; words may follow it."""
    text = found[0]
    ends = [place for place, character in enumerate(text) if character == " "]
    for end in (len(text), *reversed(ends)):
        compact = text[:end].replace(" ", "").upper()
        if 15 <= len(compact) <= 34 and _mod_97(compact) == 1:
            return "[iban]" + text[end:]
    return text


def _mod_97(iban: str) -> int:
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97
