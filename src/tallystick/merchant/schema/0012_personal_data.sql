-- Personal data, encrypted for each person with a key of their own (RULES §12). Everything about it stands in the schema pii, so
-- that one database role can have it and the others not.

-- What is stored of a person from now on: each field sealed with the person's key (AES-256-GCM; merchant, customer and field are
-- bound to it). `email` and `name` were written in the clear by the version before; the service carries them over by itself, and
-- the columns go in a later release.
ALTER TABLE pii.customer ADD COLUMN sealed_email bytea;
ALTER TABLE pii.customer ADD COLUMN sealed_name bytea;
ALTER TABLE pii.customer ADD COLUMN sealed_phone bytea;
ALTER TABLE pii.customer ADD COLUMN sealed_address bytea;
CREATE INDEX customer_in_the_clear ON pii.customer (merchant_id, customer_id) WHERE email IS NOT NULL OR name IS NOT NULL;

-- A person's data key, wrapped by a key of a process, which the key-encryption key wrapped. Whoever deletes this row has erased
-- the person, also from every backup that has the sealed fields and not the row.
CREATE TABLE pii.subject_key (
    merchant_id     text COLLATE "C" NOT NULL,
    customer_id     text COLLATE "C" NOT NULL,
    wrapped_key     bytea NOT NULL CHECK (length(wrapped_key) = 40),    -- AES key wrap of 256 bits
    wrapped_by      text NOT NULL CHECK (wrapped_by <> ''),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, customer_id)
);

-- How people are found: a keyed hash (HMAC-SHA256) of what they are known by, normalised. Gone with the person's key.
CREATE TABLE pii.lookup (
    merchant_id     text COLLATE "C" NOT NULL,
    kind            text NOT NULL CHECK (kind IN (
                        'email', 'phone',
                        'shopper')),            -- all that was said of the person: who says the same again is the same customer
    mac             bytea NOT NULL CHECK (length(mac) = 32),
    customer_id     text COLLATE "C" NOT NULL,
    PRIMARY KEY (merchant_id, kind, mac, customer_id)
);
CREATE UNIQUE INDEX lookup_shopper_is_one ON pii.lookup (merchant_id, mac) WHERE kind = 'shopper';
CREATE INDEX lookup_of_customer ON pii.lookup (merchant_id, customer_id);

-- Who looked at whose data, what for, and what was decided. Append-only; it names people by their ids alone.
CREATE TABLE pii.access (
    merchant_id     text COLLATE "C" NOT NULL,
    access_id       text COLLATE "C" NOT NULL,
    at              timestamptz NOT NULL,
    subject_kind    text NOT NULL CHECK (subject_kind IN ('operator', 'service')),
    subject_name    text NOT NULL,
    subject_role    text NOT NULL,
    action          text NOT NULL CHECK (action IN ('read', 'search', 'erase', 'audit')),
    purpose         text NOT NULL,
    customer_id     text COLLATE "C",           -- null: a search that found nobody, or the log itself
    fields          jsonb NOT NULL,             -- that were asked for, or that were searched by
    granted         jsonb NOT NULL,
    reason          text NOT NULL,              -- why it was denied; empty where it was granted
    PRIMARY KEY (merchant_id, access_id),
    CHECK ((reason = '') = (granted <> '[]'))
);
CREATE INDEX access_to_customer ON pii.access (merchant_id, customer_id, access_id);
