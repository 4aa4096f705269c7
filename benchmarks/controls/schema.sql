-- The tables of the controls: the same shape as the merchant's own (orders, timeline, inbox), without what they do not use.

CREATE TABLE orders (
    merchant_id     text NOT NULL,
    order_id        text NOT NULL,
    amount          bigint NOT NULL,
    currency        text NOT NULL,
    state           text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'PAID', 'FAILED', 'EXPIRED', 'CANCELED')),
    facts           jsonb NOT NULL DEFAULT '{}',
    amount_captured bigint NOT NULL DEFAULT 0,
    version         bigint NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, order_id)
) WITH (fillfactor = 60);

CREATE TABLE timeline (
    merchant_id     text NOT NULL,
    order_id        text NOT NULL,
    number          bigint NOT NULL,
    at              timestamptz NOT NULL,
    source          text NOT NULL,
    fact            jsonb NOT NULL,
    state_before    text NOT NULL,
    state_after     text NOT NULL,
    reference       text,
    PRIMARY KEY (merchant_id, order_id, number)
);

CREATE TABLE inbox (
    merchant_id     text NOT NULL,
    connection_id   text NOT NULL,
    event_id        text NOT NULL,
    type            text NOT NULL,
    order_id        text,
    state           text NOT NULL,
    received_at     timestamptz NOT NULL,
    raw             bytea NOT NULL,
    PRIMARY KEY (merchant_id, connection_id, event_id)
);
