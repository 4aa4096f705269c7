-- Reconciliation: what the gateway settled against what was sold (RULES §11).

-- When an order was first stored PAID: a day's report is expected to hold what was paid on that day. Orders stand in their table in
-- the order of their making, and are paid soon after it, so a few pages tell of many times; no webhook writes an index entry for it.
ALTER TABLE orders ADD COLUMN paid_at timestamptz;
CREATE INDEX orders_paid ON orders USING brin (paid_at) WITH (autosummarize = on);

-- Few orders are refunded; those that are can be found without a look at the others.
CREATE INDEX orders_refunded ON orders (merchant_id, connection_id, order_id) WHERE amount_refunded_minor > 0;

-- What the gateway takes of a charge by contract (RULES §2, fees). No row: fees are not looked at.
CREATE TABLE fee_contract (
    merchant_id     text COLLATE "C" NOT NULL,
    connection_id   text COLLATE "C" NOT NULL,
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    basis_points    integer NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    fixed_minor     bigint NOT NULL CHECK (fixed_minor >= 0),
    PRIMARY KEY (merchant_id, connection_id, currency)
);

-- One comparison of a connection and a business day: a row however many workers try, held by lease and generation.
CREATE TABLE reconciliation (
    merchant_id         text COLLATE "C" NOT NULL,
    reconciliation_id   text COLLATE "C" NOT NULL,
    connection_id       text COLLATE "C" NOT NULL,
    business_date       date NOT NULL,
    -- Where the lines come from: the connection's gateway, or a file that was handed in, in this layout.
    source              text NOT NULL CHECK (source IN ('gateway', 'stripe', 'adyen', 'camt053')),
    dry_run             boolean NOT NULL DEFAULT false,
    state               text NOT NULL DEFAULT 'due' CHECK (state IN (
                            'due',                  -- its files are to be fetched, read and matched
                            'deciding',             -- matched; what differs is being decided
                            'resolving',            -- decided; what can be resolved is being resolved
                            'done',
                            'refused')),            -- none of its files could be taken
    stopped             text,                       -- why automatic actions were stopped: a cap, or the breaker
    summary             jsonb NOT NULL DEFAULT '{}',
    lines_read          bigint NOT NULL DEFAULT 0 CHECK (lines_read >= 0),
    requested_by        text NOT NULL,
    due_at              timestamptz,
    lease_until         timestamptz,
    generation          integer NOT NULL DEFAULT 0,
    tries               integer NOT NULL DEFAULT 0,
    error               text,                       -- why the last try came to nothing
    created_at          timestamptz NOT NULL,
    finished_at         timestamptz,
    PRIMARY KEY (merchant_id, reconciliation_id),
    CHECK ((state IN ('done', 'refused')) = (finished_at IS NOT NULL)),
    CHECK ((due_at IS NULL) = (finished_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX reconciliation_once ON reconciliation (merchant_id, connection_id, business_date, source) WHERE NOT dry_run;
CREATE INDEX reconciliation_due ON reconciliation (due_at, merchant_id, reconciliation_id) WHERE due_at IS NOT NULL;

-- A file of a run, or a part of one: what was counted in it, or why it was refused.
CREATE TABLE settlement_file (
    merchant_id         text COLLATE "C" NOT NULL,
    reconciliation_id   text COLLATE "C" NOT NULL,
    number              integer NOT NULL CHECK (number >= 1),
    connection_id       text COLLATE "C" NOT NULL,
    state               text NOT NULL CHECK (state IN ('accepted', 'refused')),
    currency            text,
    account             text,
    sequence            bigint,
    revision            integer,
    lines               bigint,
    gross_minor         bigint,
    fee_minor           bigint,
    net_minor           bigint,
    opening_minor       bigint,
    closing_minor       bigint,
    sha256              text,
    damage              text,
    reason              text,
    PRIMARY KEY (merchant_id, reconciliation_id, number),
    CHECK ((state = 'refused') = (reason IS NOT NULL))
);
CREATE INDEX settlement_file_sequence ON settlement_file (merchant_id, connection_id, currency, sequence) WHERE state = 'accepted';

-- A file that was handed in, in pieces, until its run has read it.
CREATE TABLE settlement_upload (
    merchant_id         text COLLATE "C" NOT NULL,
    reconciliation_id   text COLLATE "C" NOT NULL,
    number              integer NOT NULL CHECK (number >= 1),
    bytes               bytea NOT NULL,
    PRIMARY KEY (merchant_id, reconciliation_id, number)
);
ALTER TABLE settlement_upload ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- A line of a file. It comes in with the code that it has when everything fits; only of those that do not fit the code is changed.
CREATE TABLE settlement_line (
    merchant_id         text COLLATE "C" NOT NULL,
    reconciliation_id   text COLLATE "C" NOT NULL,
    line_id             text COLLATE "C" NOT NULL,
    created_at          timestamptz NOT NULL,
    currency            text NOT NULL,
    gross_minor         bigint NOT NULL,
    fee_minor           bigint NOT NULL,
    net_minor           bigint NOT NULL,
    category            text NOT NULL,
    source              text,
    payment             text COLLATE "C",
    charge              text,
    order_reference     text,
    payout              text,
    code                text NOT NULL,
    PRIMARY KEY (merchant_id, reconciliation_id, line_id),
    CHECK (gross_minor - fee_minor = net_minor)
);
CREATE INDEX settlement_line_payment ON settlement_line (merchant_id, payment) WHERE payment IS NOT NULL;

-- What did not fit at the first look and must be decided one by one: a payment, or an order that has no line.
CREATE TABLE settlement_difference (
    merchant_id         text COLLATE "C" NOT NULL,
    reconciliation_id   text COLLATE "C" NOT NULL,
    payment             text COLLATE "C" NOT NULL,
    PRIMARY KEY (merchant_id, reconciliation_id, payment)
);

-- What was found and what became of it (RULES §1 mismatch). `subject` is what it is about within its code.
CREATE TABLE mismatch (
    merchant_id         text COLLATE "C" NOT NULL,
    reconciliation_id   text COLLATE "C" NOT NULL,
    code                text NOT NULL,
    subject             text COLLATE "C" NOT NULL,
    connection_id       text COLLATE "C" NOT NULL,
    payment             text COLLATE "C",
    order_id            text COLLATE "C",
    attempt             integer,
    currency            text,
    amount_minor        bigint,
    lines               text[] NOT NULL DEFAULT '{}',
    resolution          text NOT NULL CHECK (resolution IN ('automatic', 'case', 'wait', 'noted')),
    state               text NOT NULL CHECK (state IN (
                            'open',                 -- to be resolved by the run
                            'resolved',             -- the gateway's answer was merged, or a line came after all
                            'waiting',              -- until wait_until, for the other half
                            'case',                 -- a person decides
                            'noted',
                            'stopped')),            -- a cap or the breaker holds it back, or the run was dry
    wait_until          date,
    details             jsonb NOT NULL DEFAULT '{}',
    found_at            timestamptz NOT NULL,
    resolved_at         timestamptz,
    PRIMARY KEY (merchant_id, reconciliation_id, code, subject)
);
CREATE INDEX mismatch_waiting ON mismatch (merchant_id, connection_id, wait_until) WHERE state = 'waiting';

-- What a person proposes to do about a case, and who decided about it: never the same person (RULES §11). `basis` is what the case
-- was when it was proposed: what is executed is what was approved, or nothing.
CREATE TABLE case_proposal (
    merchant_id     text COLLATE "C" NOT NULL,
    case_id         text COLLATE "C" NOT NULL,
    number          integer NOT NULL CHECK (number >= 1),
    action          text NOT NULL CHECK (action IN (
                        'close',                    -- nothing is to be done, or it was done by hand
                        'merge')),                  -- retrieve the payment, and merge what the gateway answers
    note            text NOT NULL CHECK (note <> ''),
    basis           bytea NOT NULL,
    state           text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'rejected', 'executed', 'stale')),
    proposed_by     text NOT NULL,
    proposed_at     timestamptz NOT NULL,
    decided_by      text,
    decided_at      timestamptz,
    PRIMARY KEY (merchant_id, case_id, number),
    CHECK ((state = 'proposed') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CONSTRAINT case_proposal_decided_by_another CHECK (decided_by <> proposed_by)
);
CREATE UNIQUE INDEX case_proposal_one_open ON case_proposal (merchant_id, case_id) WHERE state = 'proposed';

-- Who did what about cases and runs, append-only.
CREATE TABLE audit (
    merchant_id     text COLLATE "C" NOT NULL,
    audit_id        text COLLATE "C" NOT NULL,
    at              timestamptz NOT NULL,
    who             text NOT NULL,
    what            text NOT NULL,
    subject         text NOT NULL,
    details         jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (merchant_id, audit_id)
);
CREATE INDEX audit_subject ON audit (merchant_id, subject, audit_id);
