from nextbest.lineage import Column, Lineage

AMOUNT, BOUGHT_AT = Column("contract", "sales", "amount"), Column("contract", "sales", "bought_at")
SPEND, RECENCY = Column("dbt model", "rfm", "spend"), Column("dbt model", "rfm", "recency")
CLV, RULES = Column("model", "clv", "spend"), Column("policy", "actions", "spend")
LINEAGE = Lineage({AMOUNT: [SPEND], BOUGHT_AT: [RECENCY, SPEND], SPEND: [RULES, CLV], RECENCY: [CLV], CLV: []})


def test_finds_everything_downstream_of_a_field_once() -> None:
    """Nearest first, and what is reached on two ways is told once."""
    assert LINEAGE.consumers("sales", "bought_at") == (RECENCY, SPEND, CLV, RULES)
    assert LINEAGE.consumers("sales", "amount") == (SPEND, CLV, RULES)


def test_a_contract_as_a_whole_hits_the_consumers_of_any_field() -> None:
    """A removed contract takes all its fields along."""
    assert set(LINEAGE.consumers("sales")) == {SPEND, RECENCY, CLV, RULES}


def test_what_nobody_reads_hits_nobody() -> None:
    """Neither does a contract that lineage has never heard of."""
    assert LINEAGE.consumers("sales", "colour") == ()
    assert LINEAGE.consumers("stock") == ()


def test_a_column_is_told_in_words() -> None:
    """A whole has no column to name."""
    assert str(SPEND) == "dbt model rfm.spend"
    assert str(Column("policy", "actions", "")) == "policy actions"
