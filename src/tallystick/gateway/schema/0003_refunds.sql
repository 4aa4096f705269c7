-- Unknown outcomes are looked up by schedule: when a row is due, how often it was asked about, since when a person must look.
ALTER TABLE charge
    ADD COLUMN inquiries int NOT NULL DEFAULT 0 CHECK (inquiries >= 0),
    ADD COLUMN case_at timestamptz;
ALTER TABLE acquirer_request
    ADD COLUMN inquiries int NOT NULL DEFAULT 0 CHECK (inquiries >= 0),
    ADD COLUMN case_at timestamptz;
-- `due_at` of what is `sent` is the end of its sender's lease. A row of a version that set none is due at once.
CREATE INDEX charge_due ON charge ((coalesce(due_at, created_at)), account_id, id)
    WHERE state IN ('created', 'sent', 'unknown');
CREATE INDEX acquirer_request_due ON acquirer_request ((coalesce(due_at, created_at)), account_id, id)
    WHERE state IN ('created', 'sent', 'unknown');
-- The cases that wait for an operator.
CREATE INDEX charge_case ON charge (account_id, livemode, id) WHERE case_at IS NOT NULL AND state IN ('created', 'sent', 'unknown');
CREATE INDEX acquirer_request_case ON acquirer_request (account_id, livemode, id)
    WHERE case_at IS NOT NULL AND state IN ('created', 'sent', 'unknown');

-- What operators decided about outcomes that nobody could learn, and on which evidence. Append-only.
CREATE TABLE outcome_resolution (
    account_id text COLLATE "C" NOT NULL,
    livemode   boolean NOT NULL,
    id         text COLLATE "C" NOT NULL,
    object     text COLLATE "C" NOT NULL,           -- the charge or acquirer request
    outcome    text NOT NULL CHECK (outcome IN ('done', 'refused')),
    reference  text,                                -- the acquirer's own, where it was done
    evidence   text NOT NULL CHECK (evidence <> ''),
    operator   text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, id)
);

ALTER TABLE acquirer_request DROP CONSTRAINT acquirer_request_kind_check;
ALTER TABLE acquirer_request ADD CONSTRAINT acquirer_request_kind_check CHECK (kind IN ('capture', 'void', 'refund'));
