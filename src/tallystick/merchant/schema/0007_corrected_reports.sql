-- A gateway corrects a report by a later revision of it: the day is compared again, by a run of its own (RULES §10, §11).

-- Which comparison of its day a run is. One that a later one has taken the place of is kept, and no longer counts.
ALTER TABLE reconciliation ADD COLUMN number integer NOT NULL DEFAULT 1 CHECK (number >= 1);
ALTER TABLE reconciliation ADD COLUMN superseded boolean NOT NULL DEFAULT false;
DROP INDEX reconciliation_once;
CREATE UNIQUE INDEX reconciliation_once ON reconciliation (merchant_id, connection_id, business_date, source, number) WHERE NOT dry_run;
