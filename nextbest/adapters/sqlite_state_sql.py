"""The SQL of State on SQLite: its tables, and the statements that ask and change them.

Belongs here: the texts. Does not belong here: when each is run, and what becomes of the rows
(`nextbest.adapters.sqlite_state`).
"""

from nextbest.adapters.sqlite import Schema

OVERDUE_ROWS = 1_000
"""Most contacts of all customers that one reservation gives back: it must not wait for a long standstill's."""
TABLES = """
CREATE TABLE IF NOT EXISTS consents (
  customer_id TEXT, purpose TEXT, status TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (customer_id, purpose)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ties (
  name TEXT, other TEXT, joined INTEGER NOT NULL, landed INTEGER NOT NULL, split INTEGER NOT NULL,
  PRIMARY KEY (name, other)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
  name TEXT PRIMARY KEY, customer_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS members_by_customer ON members (customer_id);
CREATE TABLE IF NOT EXISTS pauses (
  action TEXT PRIMARY KEY, is_paused INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signals (
  name TEXT PRIMARY KEY, said TEXT NOT NULL, at INTEGER NOT NULL, rank TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arms (
  customer_id TEXT, experiment TEXT, arm TEXT NOT NULL, probability REAL NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (customer_id, experiment)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS interactions (
  event_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, kind TEXT NOT NULL, action TEXT, channel TEXT,
  at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS interactions_by_customer ON interactions (customer_id, at);
CREATE TABLE IF NOT EXISTS contacts (
  decision_id TEXT, slot INTEGER, action TEXT, action_group TEXT, channel TEXT, customer_id TEXT,
  decided_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, impressed_at INTEGER, takes TEXT NOT NULL,
  impression_id TEXT NOT NULL, is_released INTEGER NOT NULL,
  PRIMARY KEY (decision_id, slot, action, action_group, channel, customer_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS contacts_by_customer ON contacts (customer_id);
CREATE INDEX IF NOT EXISTS contacts_held ON contacts (expires_at) WHERE impressed_at IS NULL AND expires_at > 0;
CREATE TABLE IF NOT EXISTS usage (
  counter TEXT PRIMARY KEY, seen INTEGER NOT NULL, held INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS projections (
  name TEXT PRIMARY KEY, log_id TEXT NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS projected (
  name TEXT, key TEXT, value TEXT NOT NULL,
  PRIMARY KEY (name, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (
  name TEXT PRIMARY KEY, value TEXT NOT NULL
) WITHOUT ROWID
"""
# A file of another version keeps its facts; the event processor fills the rest again from the log's beginning.
UPGRADE = """
DROP TABLE IF EXISTS consents;
DROP TABLE IF EXISTS identifiers;
DROP TABLE IF EXISTS ties;
DROP TABLE IF EXISTS members;
DROP TABLE IF EXISTS pauses;
DROP TABLE IF EXISTS signals;
DROP TABLE IF EXISTS arms;
DROP TABLE IF EXISTS interactions;
DROP TABLE IF EXISTS contacts;
DROP TABLE IF EXISTS usage;
DROP TABLE IF EXISTS projections;
DROP TABLE IF EXISTS projected;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
DELETE FROM facts WHERE name LIKE 'log_offset%' OR name LIKE 'caught_up%';
"""
SCHEMA = Schema(5, TABLES, UPGRADE)
CONTACT = (
    "decision_id, slot, action, action_group, channel, customer_id, decided_at, expires_at, impressed_at, takes, "
    "impression_id, is_released"
)
ENTRY = f"SELECT {CONTACT} FROM contacts"  # noqa: S608  our own names
OF_DECISION = f"{ENTRY} WHERE decision_id = ?"
OF_NAME = "customer_id = :name"
COUNTING = f"{OF_NAME} AND max(expires_at, decided_at, coalesce(impressed_at, 0)) > :contacts_since"
IS_OVERDUE = "impressed_at IS NULL AND expires_at > 0 AND expires_at <= :now"
# One query reads all: each statement takes longer to ask for than to answer. Rows begin with what they are. Where
# a customer goes by several names each other one is asked for by itself: a list of names in here takes SQLite longer.
USED = """
SELECT 'usage', counter, seen, held, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM usage
WHERE counter IN ({}) AND (seen != 0 OR held != 0)
"""
COUNTED = f"SELECT 'contact', {CONTACT} FROM contacts WHERE {COUNTING}"  # noqa: S608
MARK = "SELECT 'mark', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM facts WHERE name = :mark"
MEMBERS = """
SELECT 'member', name, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM members
WHERE customer_id = (SELECT customer_id FROM members WHERE name = :name)
"""
SNAPSHOT_OF_NAME = f"""
{COUNTED}
UNION ALL SELECT 'consent', purpose, status, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM consents WHERE {OF_NAME}
UNION ALL SELECT 'arm', experiment, at, arm, probability, 0, 0, 0, 0, 0, 0, 0, 0 FROM arms WHERE {OF_NAME}
UNION ALL SELECT 'interaction', at, kind, action, channel, 0, 0, 0, 0, 0, 0, 0, 0 FROM interactions
  WHERE {OF_NAME} AND at > :interactions_since
"""  # noqa: S608
SNAPSHOT = f"""
{SNAPSHOT_OF_NAME}
UNION ALL SELECT 'pause', action, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM pauses WHERE is_paused
UNION ALL {MEMBERS}
UNION ALL {MARK}
UNION ALL {USED}
"""  # noqa: S608
# Names come as one list: a place for each would take as long to fill as its signal to find.
SIGNALLED = """
UNION ALL SELECT 'signal', said, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
  FROM json_each(:signals) AS asked CROSS JOIN signals ON name = asked.value
"""
RESERVING_OF_NAME = f"""
SELECT 'overdue', {CONTACT} FROM contacts WHERE {IS_OVERDUE} AND {OF_NAME}
UNION ALL {COUNTED}
"""  # noqa: S608
BEFORE_RESERVING = f"""
{RESERVING_OF_NAME}
UNION ALL SELECT * FROM (
  SELECT 'overdue', {CONTACT} FROM contacts WHERE {IS_OVERDUE} ORDER BY expires_at LIMIT {OVERDUE_ROWS})
UNION ALL SELECT 'entry', {CONTACT} FROM contacts WHERE decision_id = :decision_id
UNION ALL {MEMBERS}
UNION ALL {MARK}
UNION ALL {USED}
"""  # noqa: S608
WRITE = "INSERT OR REPLACE INTO contacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
DROP = """
DELETE FROM contacts WHERE decision_id = ? AND slot = ? AND action = ? AND action_group = ? AND channel = ?
  AND customer_id = ?
"""
USE = """
INSERT INTO usage (counter, seen, held) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET seen = seen + excluded.seen, held = held + excluded.held
"""
INTERACTION = """
INSERT INTO interactions (event_id, customer_id, kind, action, channel, at)
VALUES (:event_id, :customer_id, :kind, :action, :channel, :at) ON CONFLICT DO NOTHING
"""
FIRST_ARM = """
INSERT INTO arms (customer_id, experiment, arm, probability, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
ARM = """
INSERT INTO arms (customer_id, experiment, arm, probability, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET arm = excluded.arm, probability = excluded.probability, at = excluded.at
WHERE excluded.at < at
"""
CONSENT = """
INSERT INTO consents (customer_id, purpose, status, at) VALUES (:customer_id, :purpose, :status, :at)
ON CONFLICT DO UPDATE SET status = excluded.status, at = excluded.at
WHERE excluded.at > at OR (excluded.at = at AND excluded.status = 'withdrawn')
"""
TIE = """
INSERT INTO ties (name, other, joined, landed, split) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  joined = max(joined, excluded.joined), landed = max(landed, excluded.landed), split = max(split, excluded.split)
"""
TIED = "SELECT joined, landed, split FROM ties WHERE name = ? AND other = ?"
TIES = "SELECT other, joined, landed, split FROM ties WHERE name = ? LIMIT ?"
UNTIE = (
    "DELETE FROM ties WHERE other = :name AND name IN (SELECT other FROM ties WHERE name = :name)",
    "DELETE FROM ties WHERE name = :name",
)
NEIGHBOURS = "SELECT other FROM ties WHERE name = ?"
CUSTOMER = "SELECT customer_id FROM members WHERE name = ?"
GROUP = "SELECT name FROM members WHERE customer_id = (SELECT customer_id FROM members WHERE name = ?)"
JOIN = "INSERT OR REPLACE INTO members (name, customer_id) VALUES (?, ?)"
LEAVE = "DELETE FROM members WHERE name = ?"
ALL_OF_CUSTOMER = f"{ENTRY} WHERE customer_id = ?"
BY_CUSTOMER = ("consents", "arms", "interactions")
OF_THE_LOG = (*BY_CUSTOMER, "ties", "members", "pauses", "signals", "contacts", "usage", "projections", "projected")
FORGET_LOGS = (
    "DELETE FROM facts WHERE name LIKE 'log_offset:%' OR name LIKE 'caught_up:%' OR name = 'contacts_forgotten'"
)
PAUSE = """
INSERT INTO pauses (action, is_paused, at) VALUES (:action, :is_paused, :at)
ON CONFLICT DO UPDATE SET is_paused = excluded.is_paused, at = excluded.at
WHERE excluded.at > at OR (excluded.at = at AND excluded.is_paused)
"""
SIGNAL = """
INSERT INTO signals (name, said, at, rank) VALUES (:name, :said, :at, :rank)
ON CONFLICT DO UPDATE SET said = excluded.said, at = excluded.at, rank = excluded.rank
WHERE (excluded.at, excluded.rank) > (at, rank)
"""
SET_FACT = "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
COUNT = """
INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + excluded.value
"""
LAPSED = """
SELECT DISTINCT decision_id FROM contacts
WHERE decision_id > ? AND max(expires_at, decided_at, coalesce(impressed_at, 0)) <= ? ORDER BY decision_id LIMIT ?
"""
OLD_INTERACTIONS = "SELECT event_id FROM interactions WHERE event_id > ? AND at <= ? ORDER BY event_id LIMIT ?"
