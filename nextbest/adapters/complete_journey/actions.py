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
#   fluid_milk_products, volume: milk is short; no more than 2,000 coupons a day
#   cheese, budget: this month's money for cheese, in USD of expected discount
#   seafood_frozen, excluded_by: who was offered beef is not offered fish for two days
#   fluid_milk_products and ice_cream_milk_sherbts, stock: what the shop is out of is not offered
"""

_BY_HAND = """
# What no data set knows: written by hand. -----------------------------------------------------------------------------

# A new action. No model knows it, so we say what we believe: three in a hundred respond, and that is worth a hundred
# answers. It reaches a tenth of the customers at first, and more with every impression (arbitration.yaml, ramp).
- id: recipe_of_the_week
  name: Recipe of the week
  group: recipes
  objective: engagement
  purpose: personalization
  start: 2026-01-05
  value: 0.1 + 0.002 * spend_28d
  starting: {propensity: 0.03, evidence: 100}
  applicability: [baskets_28d > 0.0]
  treatments:
  - id: recipe_home
    placement: home_banner
    channel: web
    content:
      headline: The recipe of the week
      text: 'You shopped {{ customer.baskets_28d }} times this month: here is something new to cook.'
  - id: recipe_app
    placement: app_message
    channel: app
    content: {title: '{{ action.name }}', text: Ready in twenty minutes.}

# It goes with the beef coupon, on whatever channel that was seen, for three days.
- id: beef_recipe
  name: What to cook with beef
  group: recipes
  objective: engagement
  purpose: personalization
  value: 0.5
  starting: {propensity: 0.05, evidence: 50}
  follows:
  - {action: beef, event: impression, within_hours: 72}
  treatments:
  - id: beef_recipe_app
    placement: app_message
    channel: app
    content: {title: 'Beef tonight?', text: Three recipes for what you have a coupon for.}

# Something the customer did: it belongs to no campaign, and no contact rule holds it back.
- id: receipt
  name: Your receipt
  group: service
  objective: service
  class: transactional
  value: 1.0
  starting: {propensity: 0.6, evidence: 1000}
  eligibility: [has_just_paid]
  treatments:
  - id: receipt_app
    placement: app_message
    channel: app
    content: {title: Thank you, text: 'Your receipt is ready. With us for {{ customer.tenure_days }} days!'}

# Something the customer must hear, before anything else.
- id: recall_notice
  name: Product recall
  group: service
  objective: safety
  class: mandatory
  value: 0.0
  starting: {propensity: 0.5, evidence: 1000}
  eligibility: ["recalled_category == 'frozen_pizza' && category_spend_182d__frozen_pizza > 0.0"]
  treatments:
  - id: recall_home
    placement: home_banner
    channel: web
    content: {headline: 'Please read: frozen pizza is recalled', text: Bring it back and we refund it.}
  - id: recall_app
    placement: app_message
    channel: app
    content: {title: 'Please read: frozen pizza is recalled', text: Bring it back and we refund it.}
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
    "ICE CREAM/MILK/SHERBTS": _Rule("suitability", "weather_temperature > 5.0", "no ice cream in the frost"),
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


_MORE: dict[str, dict[str, Any]] = {
    "FLUID MILK PRODUCTS": {"volume": {"limit": 2_000, "per": "day"}, "stock": {"at_least": 1}},
    "ICE CREAM/MILK/SHERBTS": {"stock": {"at_least": 1}},
    "CHEESE": {"budget": {"amount": 250.0, "per": "month"}},
    "SEAFOOD - FROZEN": {"excluded_by": [{"action": "beef", "event": "decision", "within_hours": 48}]},
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
        + _BY_HAND
    )


def _action(category: str, department: str, campaign_type: str, value: float, cost: float) -> dict[str, Any]:
    action, name = slug(category), _NAMES.get(category, category.capitalize())
    rule = _RULES.get(category)
    return {
        "id": action,
        "name": f"{name} coupon",
        "group": slug(department),
        "objective": "redemption",
        "purpose": "marketing",
        "value": value,
        "cost": cost,
        **_MORE.get(category, {}),
        **({rule.tier: [rule.expression]} if rule else {}),
        "treatments": [
            {
                "id": f"{action}_home",
                "placement": "home_banner",
                "channel": "web",
                "content": {"headline": f"{name}: save on your next shop", "text": "Your coupon is in the app."},
            },
            {
                "id": f"{action}_email",
                "placement": "email_hero",
                "channel": "email",
                "content": {
                    "subject": f"Your {name.lower()} coupon",
                    "headline": f"{name}: a coupon for you",
                    "text": "{{ action.name }}: show it at the till.",
                },
            },
            {
                "id": f"{action}_app",
                "placement": "app_message",
                "channel": "app",
                "content": {"title": f"{name}: a coupon for you", "text": "It is in your wallet."},
            },
        ],
        "attributes": {"category": category, "department": department, "campaign_type": campaign_type},
    }
