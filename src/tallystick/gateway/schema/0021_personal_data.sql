-- Personal data of customers, encrypted for each person with a key of their own (RULES §12), as the merchant service keeps them.
-- pii.customer_detail holds what the version before wrote in the clear; the service seals it and takes it away by itself, and the
-- table goes in a later release.
CREATE TABLE pii.customer (
    account_id   text COLLATE "C" NOT NULL,
    livemode     boolean NOT NULL,
    customer_id  text COLLATE "C" NOT NULL,
    changed_at   timestamptz NOT NULL,
    settled      boolean NOT NULL DEFAULT false, -- whether it was seen that there is such a customer; else it is erased after a while
    sealed_email bytea,
    sealed_name  bytea,
    sealed_phone bytea,
    PRIMARY KEY (account_id, livemode, customer_id)
);
CREATE INDEX customer_unsettled ON pii.customer (changed_at, account_id, livemode, customer_id) WHERE NOT settled;

-- A person's data key, wrapped by a key of a process, which the key-encryption key wrapped. Whoever deletes this row has erased
-- the person, also from every backup that has the sealed fields and not the row.
CREATE TABLE pii.subject_key (
    account_id   text COLLATE "C" NOT NULL,
    livemode     boolean NOT NULL,
    customer_id  text COLLATE "C" NOT NULL,
    wrapped_key  bytea NOT NULL CHECK (length(wrapped_key) = 40),    -- AES key wrap of 256 bits
    wrapped_by   text COLLATE "C" NOT NULL CHECK (wrapped_by <> ''),
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (account_id, livemode, customer_id)
);
CREATE INDEX subject_key_wrapped_by ON pii.subject_key (wrapped_by);

-- How people are found: a keyed hash (HMAC-SHA256) of what they are known by, normalised. Gone with the person's key.
CREATE TABLE pii.lookup (
    account_id   text COLLATE "C" NOT NULL,
    livemode     boolean NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('email', 'phone')),
    mac          bytea NOT NULL CHECK (length(mac) = 32),
    customer_id  text COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, livemode, kind, mac, customer_id)
);
CREATE INDEX lookup_of_customer ON pii.lookup (account_id, livemode, customer_id);

-- Who looked at whose data, what for, and what was decided. Append-only; it names people by their ids alone.
CREATE TABLE pii.access (
    account_id   text COLLATE "C" NOT NULL,
    livemode     boolean NOT NULL,
    access_id    text COLLATE "C" NOT NULL,
    at           timestamptz NOT NULL,
    subject_kind text NOT NULL CHECK (subject_kind IN ('operator', 'service')),
    subject_name text NOT NULL,
    subject_role text NOT NULL,
    action       text NOT NULL CHECK (action IN ('read', 'search', 'erase', 'audit')),
    purpose      text NOT NULL,
    customer_id  text COLLATE "C",           -- null: a search that found nobody, or the log itself
    fields       jsonb NOT NULL,             -- that were asked for, or that were searched by
    granted      jsonb NOT NULL,
    reason       text NOT NULL,              -- why it was denied; empty where it was granted
    PRIMARY KEY (account_id, livemode, access_id),
    CHECK ((reason = '') = (granted <> '[]'))
);
CREATE INDEX access_to_customer ON pii.access (account_id, livemode, customer_id, access_id);
