"""Write invoices as a small online shop keeps them, to try a project of one's own on: made up, and not tidy.

The columns and their habits are those of the UCI data set Online Retail (Chen, 2015): a cancelled invoice begins with C
and has negative quantities, one invoice in eight names no customer, some descriptions are missing, times are written
month/day/year, and three lines correct a bad debt by a price below zero. The last invoice is of the day before
`--until`, so that it looks like a shop that is open.

Example: python examples/online_retail.py invoices.csv
"""

import argparse
import csv
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
_RANGES = {
    "HEART T-LIGHT HOLDER": 2.55,
    "LUNCH BAG RED RETROSPOT": 1.65,
    "PARTY BUNTING": 4.95,
    "REGENCY CAKESTAND 3 TIER": 12.75,
    "JUMBO BAG STRAWBERRY": 2.08,
    "ALARM CLOCK BAKELIKE GREEN": 3.75,
    "SET OF 6 SPICE TINS": 3.95,
    "HAND WARMER OWL DESIGN": 2.1,
    "PAPER CHAIN KIT 50'S CHRISTMAS": 2.95,
    "WOODEN PICTURE FRAME WHITE": 2.95,
    "GLASS STAR FROSTED": 4.25,
    "DOORMAT HEARTS": 7.95,
}
_COUNTRIES = ("United Kingdom",) * 17 + ("Germany", "France", "EIRE")
Line = tuple[str, str, str, int, str, float, str, str]


def lines(customers: int, days: int, until: date, seed: int) -> Iterator[Line]:
    """The lines of all invoices, oldest first."""
    draw = random.Random(seed)  # noqa: S311  a shop, not a secret
    products = [(str(22000 + number), name, price) for number, (name, price) in enumerate(_RANGES.items())]
    tastes = {f"{12346 + each}": draw.sample(products, 5) for each in range(customers)}
    homes = {customer: draw.choice(_COUNTRIES) for customer in tastes}
    number = 536_365
    for day in range(days, 0, -1):
        for customer in draw.sample(sorted(tastes), max(1, customers // 12)):
            number += 1
            at = datetime.combine(until - timedelta(days=day), time(draw.randint(8, 17), draw.randint(0, 59)), UTC)
            is_return, is_guest = draw.random() < 0.02, draw.random() < 0.12  # noqa: PLR2004  shares of invoices
            for code, name, price in draw.sample(tastes[customer], draw.randint(1, 4)):
                yield (
                    f"C{number}" if is_return else str(number),
                    code,
                    name if draw.random() > 0.01 else "",  # noqa: PLR2004  a share of lines
                    -1 if is_return else draw.choice((1, 1, 2, 6, 12)),
                    f"{at.month}/{at.day}/{at.year} {at.hour}:{at.minute:02d}",
                    price,
                    "" if is_guest else customer,
                    homes[customer],
                )
    for each, debt in enumerate((11_062.06, 53.1, 7.4)):
        yield (
            f"A{number + each}",
            "B",
            "Adjust bad debt",
            1,
            f"{at.month}/{at.day}/{at.year} 18:00",
            -debt,
            "",
            _COUNTRIES[0],
        )


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="Where to write the CSV.")
    parser.add_argument("--customers", type=int, default=120, help="How many customers buy (%(default)s).")
    parser.add_argument("--days", type=int, default=380, help="How many days of invoices (%(default)s).")
    parser.add_argument("--until", type=date.fromisoformat, default=datetime.now(UTC).date(), help="Default: today.")
    parser.add_argument("--seed", type=int, default=1, help="Another seed is another shop (%(default)s).")
    options = parser.parse_args()
    with options.file.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(lines(options.customers, options.days, options.until, options.seed))


if __name__ == "__main__":
    main()
