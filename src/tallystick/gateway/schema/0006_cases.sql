-- What a person must see or decide (RULES §1, §3): opened in the commit that finds it, once for each thing that it is about. Found
-- again, it is the same case: `subject` names what it is about within its kind.
CREATE TABLE cases (
    account_id     text COLLATE "C" NOT NULL,
    livemode       boolean NOT NULL,
    id             text COLLATE "C" NOT NULL,
    kind           text NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    payment_intent text COLLATE "C" NOT NULL,
    charge         text COLLATE "C" NOT NULL,
    amount         bigint NOT NULL CHECK (amount > 0),
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    details        jsonb NOT NULL DEFAULT '{}',
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    opened_at      timestamptz NOT NULL,
    closed_at      timestamptz,
    note           text,                            -- how it was closed, in an operator's words
    operator       text,                            -- who closed it
    tell_at        timestamptz,                     -- when people are to be told of it; null once they were
    PRIMARY KEY (account_id, livemode, id),
    CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CHECK ((state = 'closed') = (note IS NOT NULL AND operator IS NOT NULL))
);
CREATE UNIQUE INDEX cases_found_once ON cases (account_id, livemode, kind, subject);
CREATE INDEX cases_to_tell ON cases (tell_at, account_id, id) WHERE tell_at IS NOT NULL;

-- A refund that our commands would not have made, and that was told all the same (RULES §3).
ALTER TABLE refund ADD COLUMN over_refunded boolean NOT NULL DEFAULT false;
