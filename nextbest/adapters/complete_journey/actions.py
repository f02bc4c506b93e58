"""The actions that follow from the data: real coupon offers by product category, as `policies/actions.yaml`.

Belongs here: which categories become actions, how value and cost follow from the data, and the words and rules a
strategist of this retailer starts from. Does not belong here: what a policy may say (`nextbest.policy`).
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import yaml

from nextbest.adapters.complete_journey.mapping import connect
from nextbest.policy_schema import modeline
from nextbest.source import slug

MIN_REDEMPTIONS = 25

_HEADER = """\
# What can be proposed: the data's real coupon offers, one action per product category with at least
# {minimum} redemptions. Doing nothing is always an action too, and is not listed.
#
# Derived from The Complete Journey by
#     python -m nextbest.adapters.complete_journey > policies/actions.yaml
# A coupon belongs to the category most of its products are in. In USD:
#   value  sales of the coupon's products, before coupons and after loyalty discounts (sales_value +
#          coupon_match_disc), to the redeeming household on the day of redemption: the mean over the redemptions
#          for which such sales are recorded. A line that several redeemed coupons cover is shared between them.
#   cost   expected discount per contact: mean discount per redemption x redemptions per contact.
#          The discount is coupon_disc + coupon_match_disc of those sales, its mean over the redemptions that
#          record one; coupon_disc counts in full, though a manufacturer may reimburse it. Contacts are all of the
#          campaigns that offered the category. Type A campaigns sent each household 16 coupons and did not record
#          which, so for them it counts households that may not have got this one: cost is then too low.
# Neither is causal: what the household would have bought without the coupon is not known.
#
# Rules, and why:
{reasons}
"""

_OFFERS = """
WITH offered AS (
    SELECT category, count(*) AS contact_count
    FROM (SELECT DISTINCT campaign_id, category FROM coupon_category) JOIN campaigns USING (campaign_id)
    GROUP BY ALL
),
redeemed AS (
    SELECT
        category,
        count(*) AS redemption_count,
        avg(sales) AS value,
        avg(discount) FILTER (discount > 0) AS discount,
        mode(campaign_type ORDER BY campaign_type) AS campaign_type
    FROM redemption JOIN campaign_descriptions USING (campaign_id)
    GROUP BY ALL
),
department AS (
    SELECT product_category AS category, mode(department ORDER BY department) AS department
    FROM products
    GROUP BY ALL
)
SELECT
    category,
    department,
    campaign_type,
    round(value, 2) AS value,
    round(discount * redemption_count / contact_count, 4) AS cost
FROM redeemed JOIN offered USING (category) JOIN department USING (category)
WHERE redemption_count >= $1
ORDER BY category
"""

# The data set's abbreviations, spelled out.
_NAMES = {
    "BAG SNACKS": "Snacks",
    "BATH TISSUES": "Bath tissue",
    "BEEF": "Beef",
    "CHEESE": "Cheese",
    "COLD CEREAL": "Breakfast cereal",
    "DIAPERS & DISPOSABLES": "Diapers",
    "FLUID MILK PRODUCTS": "Milk",
    "FROZEN BREAD/DOUGH": "Frozen bread and dough",
    "FROZEN PIE/DESSERTS": "Frozen pies and desserts",
    "FROZEN PIZZA": "Frozen pizza",
    "FRZN MEAT/MEAT DINNERS": "Frozen meat and dinners",
    "ICE CREAM/MILK/SHERBTS": "Ice cream",
    "LAUNDRY DETERGENTS": "Laundry detergent",
    "MAKEUP AND TREATMENT": "Makeup",
    "MARGARINES": "Margarine",
    "MISC. DAIRY": "Pudding and other dairy",
    "ORAL HYGIENE PRODUCTS": "Toothpaste and oral care",
    "PASTA SAUCE": "Pasta sauce",
    "PICKLE/RELISH/PKLD VEG": "Pickles and relish",
    "PROCESSED": "Fresh dressings and dips",
    "REFRGRATD DOUGH PRODUCTS": "Chilled dough",
    "REFRGRATD JUICES/DRNKS": "Chilled juice",
    "SALD DRSNG/SNDWCH SPRD": "Salad dressing and sandwich spread",
    "SEAFOOD - FROZEN": "Frozen seafood",
    "SOFT DRINKS": "Soft drinks",
    "YOGURT": "Yogurt",
}


@dataclass(frozen=True, slots=True)
class _Rule:
    tier: str
    expression: str
    reason: str


_STAPLE = _Rule("applicability", "baskets_28d > 0", "a bulky staple goes with a regular shop")
_RULES = {
    "BATH TISSUES": _STAPLE,
    "BEEF": _Rule(
        "suitability",
        "category_spend_182d__beef > 0.0 || department_share_91d__meat > 0.0",
        "no meat for a household that buys none",
    ),
    "DIAPERS & DISPOSABLES": _Rule(
        "eligibility",
        "kids_count_ordinal > 1 || category_spend_182d__diapers_disposables > 0.0",
        "for households known to have, or to buy for, small children",
    ),
    "LAUNDRY DETERGENTS": _STAPLE,
    "MAKEUP AND TREATMENT": _Rule(
        "applicability",
        "category_spend_182d__makeup_and_treatment > 0.0 || department_share_91d__drug_gm > 0.0",
        "for households that come for more than food",
    ),
    "SEAFOOD - FROZEN": _Rule(
        "suitability", "category_spend_182d__seafood_frozen > 0.0", "no fish for a household that buys none"
    ),
}


def actions_yaml() -> str:
    """The text of `policies/actions.yaml`, derived from all households."""
    with closing(connect(timedelta(0))) as con:
        offers = con.execute(_OFFERS, [MIN_REDEMPTIONS]).fetchall()
    reasons = "\n".join(f"#   {slug(category)}, {rule.tier}: {rule.reason}" for category, rule in _RULES.items())
    document = {"currency": "USD", "actions": [_action(*offer) for offer in offers]}
    body = yaml.safe_dump(document, sort_keys=False, width=120, default_flow_style=None)
    return (
        modeline("actions")
        + _HEADER.format(minimum=MIN_REDEMPTIONS, reasons=reasons)
        + body.replace("\n- id:", "\n\n- id:")
    )


def _action(category: str, department: str, campaign_type: str, value: float, cost: float) -> dict[str, Any]:
    action, name = slug(category), _NAMES.get(category, category.capitalize())
    rule = _RULES.get(category)
    return {
        "id": action,
        "name": f"{name} coupon",
        "group": slug(department),
        "objective": "redemption",
        "class": "standard",
        "purpose": "marketing",
        "value": value,
        "cost": cost,
        "lever": 100,
        **{tier: _expressions(rule, tier) for tier in ("eligibility", "applicability", "suitability")},
        "treatments": [
            {
                "id": f"{action}_home",
                "placement": "home_banner",
                "channel": "web",
                "content": {"headline": f"{name}: save on your next shop"},
            },
            {
                "id": f"{action}_email",
                "placement": "email_hero",
                "channel": "email",
                "content": {"subject": f"Your {name.lower()} coupon", "headline": f"{name}: a coupon for you"},
            },
        ],
        "attributes": {"category": category, "department": department, "campaign_type": campaign_type},
    }


def _expressions(rule: _Rule | None, tier: str) -> list[str]:
    return [rule.expression] if rule and rule.tier == tier else []
