# SPDX-License-Identifier: Apache-2.0
"""Texts that every frame may have, and times, spans and decimals as JSON has them: the arithmetic on numbers, with no
limit on years.

An instant is microseconds (or nanoseconds) since 1970 in UTC; it is shown in the worker's time zone with its offset.
Fractions have three digits, or as many as are needed in groups of three. An offset of minutes and seconds, as zones
had before there was standard time, is shown in whole minutes and the clock moved by the rest: the instant is exact,
and everybody can read it."""

import decimal
import math
import re
import time

FOREIGN = re.compile("[\0\ud800-\udfff]")
DAY_S = 86400
DIGITS_EXACT = 15   # a float holds that many of a decimal
PLAIN_ZEROS_MAX = 40
DECIMALS = ("auto", "number", "string")
_decimals = "auto"


def counted(n, noun):
    """A number and what it counts, in a sentence."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def clean(text):
    """`text` without the characters that no frame may have."""
    return text if text.isascii() and "\0" not in text else FOREIGN.sub("\ufffd", text)


def configure(conf):
    """Takes `spark.mist.decimals` of the context's sparkConf. Raises ValueError."""
    global _decimals
    said = conf.get("spark.mist.decimals", "auto")
    if said not in DECIMALS:
        raise ValueError(f"spark.mist.decimals: expected {', '.join(DECIMALS[:-1])} or {DECIMALS[-1]}, got {said:.64}")
    _decimals = said


def civil(days):
    """Year, month, day of the days since 1970-01-01."""
    z = days + 719468
    era, doe = divmod(z, 146097)
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    return yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) // 5 + 1


def days_of(year, month, day):
    """The other way."""
    year -= month <= 2
    era, yoe = divmod(year, 400)
    doy = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


def date(days):
    """Years that have not four digits have a sign, as ISO 8601 wants it."""
    year, month, day = civil(days)
    shown = f"{year:04d}" if 0 <= year <= 9999 else f"{'+' if year > 0 else '-'}{abs(year):04d}"
    return f"{shown}-{month:02d}-{day:02d}"


def local(ns):
    """Date and time of day without a zone, of nanoseconds since 1970 on that clock."""
    s, fraction = divmod(ns, 10 ** 9)
    days, s = divmod(s, DAY_S)
    return f"{date(days)}T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}.{_digits(fraction)}"


def instant(ns, offset_s=None):
    """The same with an offset: of the worker's zone, unless one is given."""
    if offset_s is None:
        offset_s = offset_at(ns // 10 ** 9)
    minutes = -(-offset_s // 60)  # upwards: the clock goes on, and year 1 stays year 1
    sign = "-" if minutes < 0 else "+"
    return f"{local(ns + minutes * 60 * 10 ** 9)}{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def offset_at(s):
    try:
        return time.localtime(s).tm_gmtoff
    except (OverflowError, OSError, ValueError):
        return 0


def clock(ns):
    """A time of an unknown zone: it is the worker's. One that its clocks never showed stays without a zone."""
    s = ns // 10 ** 9
    for at in (s - offset_at(s - DAY_S), s - offset_at(s + DAY_S)):
        if at + offset_at(at) == s:
            return instant(ns - offset_at(at) * 10 ** 9)
    return local(ns)


def _digits(ns):
    if ns % 1000000 == 0:
        return f"{ns // 1000000:03d}"
    return f"{ns // 1000:06d}" if ns % 1000 == 0 else f"{ns:09d}"


def span(amount, per_second):
    """An ISO 8601 duration of a number of equal parts of a second: P1DT2H3M4.5S."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    s, fraction = divmod(amount, per_second)
    days, s = divmod(s, DAY_S)
    text = "".join(f"{n}{unit}" for n, unit in ((s // 3600, "H"), (s // 60 % 60, "M")) if n)
    seconds = str(s % 60)
    if fraction:
        seconds += "." + str(fraction).zfill(len(str(per_second)) - 1).rstrip("0")
    if seconds != "0":
        text += seconds + "S"
    if not days and not text:
        return "PT0S"
    return f"{sign}P{f'{days}D' if days else ''}{'T' if text else ''}{text}"


def months(n):
    sign, n = ("-", -n) if n < 0 else ("", n)
    text = "".join(f"{m}{unit}" for m, unit in ((n // 12, "Y"), (n % 12, "M")) if m)
    return f"{sign}P{text or '0M'}"


def decimals_are_numbers(values=None, precision=None):
    """Of a column, or of the Decimals there are: one rule for all of them."""
    if _decimals != "auto":
        return _decimals == "number"
    if precision is not None:
        return precision <= DIGITS_EXACT
    return all(_is_exact(v) for v in values)


def _is_exact(value):
    if not value.is_finite():
        return True
    try:
        number = float(value)
    except OverflowError:
        return False
    n_digits = len(value.normalize(decimal.Context(prec=DIGITS_EXACT + 1)).as_tuple().digits)
    return n_digits <= DIGITS_EXACT and math.isfinite(number) and decimal.Decimal(repr(number)) == value


def number_or_text(value, is_number):
    """A Decimal in JSON."""
    if not value.is_finite():
        return None
    if is_number:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        return number if math.isfinite(number) else str(value)
    exponent = value.as_tuple().exponent
    return format(value, "f") if -PLAIN_ZEROS_MAX <= exponent <= 0 else str(value)
