-- What is due when something did not go as meant: expiry, operators.

-- Every live attempt has a time at which it is looked at again (RULES §8). An attempt that a process of the version before
-- inserts says nothing of it, so it is due at once: whoever looks finds out when its time really comes.
ALTER TABLE attempt ALTER COLUMN due_at SET DEFAULT '1970-01-01T00:00:00Z';
UPDATE attempt a
   SET due_at = o.expires_at
  FROM orders o
 WHERE (o.merchant_id, o.order_id) = (a.merchant_id, a.order_id)
   AND a.state IN ('open', 'authorised') AND a.due_at IS NULL;

-- What a person must decide or at least see (RULES §1 case). Found again, it is the same case: `subject` names what it is about
-- within its kind.
CREATE TABLE cases (
    merchant_id     text COLLATE "C" NOT NULL,
    case_id         text COLLATE "C" NOT NULL,
    kind            text NOT NULL,
    subject         text COLLATE "C" NOT NULL,
    order_id        text COLLATE "C",
    attempt         integer,
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    details         jsonb NOT NULL DEFAULT '{}',
    opened_at       timestamptz NOT NULL,
    closed_at       timestamptz,
    PRIMARY KEY (merchant_id, case_id),
    CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
CREATE UNIQUE INDEX cases_found_once ON cases (merchant_id, kind, subject);

-- The shop's stock hook: asked whether goods that were let go are still there, told which goods are let go (RULES §4, §8).
ALTER TABLE merchant ADD COLUMN stock_url text;
ALTER TABLE merchant ADD COLUMN stock_secret text;
ALTER TABLE merchant ADD CONSTRAINT merchant_stock_is_signed CHECK ((stock_url IS NULL) = (stock_secret IS NULL));

-- What must still be done about an order outside, once for each attempt: written in the commit that made it due. A row that is
-- done stays, so that it is never done twice.
CREATE TABLE errand (
    merchant_id     text COLLATE "C" NOT NULL,
    order_id        text COLLATE "C" NOT NULL,
    kind            text NOT NULL CHECK (kind IN (
                        'decide',                   -- whether late money is kept: the merchant's policy (RULES §4)
                        'return',                   -- give back money that is not the order's, or that policy refused
                        'release')),                -- tell the shop's stock that the goods are let go (RULES §8)
    attempt         integer NOT NULL,
    due_at          timestamptz,                    -- null: done
    lease_until     timestamptz,
    generation      integer NOT NULL DEFAULT 0,
    tries           integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, order_id, kind, attempt)
) WITH (fillfactor = 80);
CREATE INDEX errand_due ON errand (due_at, merchant_id, order_id, kind, attempt) WHERE due_at IS NOT NULL;

-- Refunds that the shop asked for. The request is stored before it is sent, so that repeating it repeats it to the byte.
CREATE TABLE refund (
    merchant_id     text COLLATE "C" NOT NULL,
    order_id        text COLLATE "C" NOT NULL,
    number          integer NOT NULL CHECK (number >= 1),
    attempt         integer NOT NULL,
    connection_id   text COLLATE "C" NOT NULL,
    amount_minor    bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 999999999999),
    state           text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'made', 'refused')),
    request         bytea NOT NULL,
    gateway_refund  text,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, order_id, number)
);

-- How far a connection's events are known (RULES §7): until when somebody watched over it, and the backfill that is wanted or
-- under way, from `backfill_from` on, behind `backfill_cursor`, the last event that was taken in.
CREATE TABLE connection_watch (
    merchant_id         text COLLATE "C" NOT NULL,
    connection_id       text COLLATE "C" NOT NULL,
    watched_at          timestamptz NOT NULL,
    backfill_from       timestamptz,
    backfill_cursor     text COLLATE "C",
    backfilled_at       timestamptz,
    due_at              timestamptz,
    lease_until         timestamptz,
    generation          integer NOT NULL DEFAULT 0,
    tries               integer NOT NULL DEFAULT 0,
    PRIMARY KEY (merchant_id, connection_id),
    CHECK ((backfill_from IS NULL) = (due_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX connection_watch_due ON connection_watch (due_at, merchant_id, connection_id) WHERE due_at IS NOT NULL;
CREATE INDEX connection_watch_seen ON connection_watch (watched_at, merchant_id, connection_id);

-- The webhooks that came to nothing yet, for those who look after them: few rows of a large table.
CREATE INDEX inbox_unapplied ON inbox (merchant_id, connection_id, event_id) WHERE state IN ('parked', 'failed');

-- Operators belong to the installation and to no merchant: the hash of a key finds its holder.
CREATE TABLE operator_key (
    key_hash   bytea PRIMARY KEY,
    name       text NOT NULL,                       -- whom it was made for
    hint       text NOT NULL,                       -- prefix and last four, for lists
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- Of a table without statistics PostgreSQL believes that a row's owner says as much as its id. Since every index begins with
-- the owner, it may then walk all rows of a merchant to find one, and a plan that was made on the empty table stays until
-- autovacuum comes by. So tables that are still empty are shown once what they will look like: some rows of one merchant,
-- ended as nearly all rows are. Then they are emptied, and the statistics remain.
DO $$
BEGIN
    IF EXISTS (SELECT FROM orders) THEN
        RETURN;
    END IF;
    INSERT INTO idempotency_key (owner_id, mode, key, fingerprint, state, status, body, generation, lease_until, created_at)
    SELECT 'mer', 'live', 'key_' || n, '', 'done', 201, '', 1, t, t
      FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
    INSERT INTO pii.customer (merchant_id, customer_id, created_at)
    SELECT 'mer', 'cus_' || n, t
      FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
    INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max, state, fulfilment,
                        keeper, attempt_newest, created_at, expires_at, updated_at)
    SELECT 'mer', 'ord_' || n, 'con', n, 'EUR', 'hosted', 1800, 3, 'PAID', 'allowed', 1, 1, t, t, t
      FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
    INSERT INTO attempt (merchant_id, order_id, number, connection_id, state, open_key, gateway_expires_at, checkout_session,
                         payment_intent, due_at, created_at)
    SELECT 'mer', 'ord_' || n, 1, 'con', 'succeeded', 'order:ord_' || n || ':1', t, 'cs_' || n, 'pi_' || n, NULL, t
      FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
    INSERT INTO timeline (merchant_id, order_id, number, at, source, attempt, fact, state_before, state_after)
    SELECT 'mer', 'ord_' || n % 100, n, t, 'webhook', 1, '{}', 'PENDING', 'PAID'
      FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
    INSERT INTO inbox (merchant_id, connection_id, event_id, type, order_id, state, received_at, raw)
    SELECT 'mer', 'con', 'evt_' || n, 'payment_intent.succeeded', 'ord_' || n, 'applied', t, ''
      FROM generate_series(1, 300) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t);
    ANALYZE idempotency_key, pii.customer, orders, attempt, timeline, inbox;
    -- As a transaction of its own within this one: the tables get new files, whose size is unknown; otherwise they would be
    -- known to be empty.
    BEGIN
        TRUNCATE idempotency_key, pii.customer, orders, attempt, timeline, inbox;
    EXCEPTION WHEN lock_not_available THEN
        RAISE;
    END;
END
$$;
