-- find_shoppers
-- Which of these people are known already, by all that is said of them, and whether they still wait for their first order.
SELECT l.merchant_id, l.mac, l.customer_id, n.customer_id IS NOT NULL AS newcomer
  FROM unnest($1::text[], $2::bytea[]) AS u(merchant_id, mac)
  JOIN pii.lookup l ON l.merchant_id = u.merchant_id AND l.kind = 'shopper' AND l.mac = u.mac
  LEFT JOIN newcomer n ON (n.merchant_id, n.customer_id) = (l.merchant_id, l.customer_id)
 ORDER BY l.merchant_id, l.mac;

-- insert_people
-- New people with their keys, sealed fields and lookups, and when it is looked whether they came to have an order (null: never); those
-- whom somebody else stored meanwhile are left out. Gives the rest.
WITH wanted AS (
    SELECT *
      FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bytea[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[],
                  $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[], $13::timestamptz[])
           AS u(merchant_id, customer_id, created_at, wrapped_key, wrapped_by, sealed_email, sealed_name, sealed_phone,
                sealed_address, email_mac, phone_mac, shopper_mac, due_at)
), claimed AS (
    INSERT INTO pii.lookup (merchant_id, kind, mac, customer_id)
    SELECT w.merchant_id, 'shopper', w.shopper_mac, w.customer_id
      FROM wanted w WHERE w.shopper_mac IS NOT NULL
     ORDER BY w.merchant_id, w.shopper_mac
    ON CONFLICT DO NOTHING
    RETURNING customer_id
), fresh AS (
    SELECT w.* FROM wanted w
     WHERE w.shopper_mac IS NULL OR w.customer_id IN (SELECT c.customer_id FROM claimed c)
), keys AS (
    INSERT INTO pii.subject_key (merchant_id, customer_id, wrapped_key, wrapped_by, created_at)
    SELECT f.merchant_id, f.customer_id, f.wrapped_key, f.wrapped_by, f.created_at FROM fresh f
), found_by AS (
    INSERT INTO pii.lookup (merchant_id, kind, mac, customer_id)
    SELECT f.merchant_id, 'email', f.email_mac, f.customer_id FROM fresh f WHERE f.email_mac IS NOT NULL
    UNION ALL
    SELECT f.merchant_id, 'phone', f.phone_mac, f.customer_id FROM fresh f WHERE f.phone_mac IS NOT NULL
), waiting AS (
    INSERT INTO newcomer (merchant_id, customer_id, due_at)
    SELECT f.merchant_id, f.customer_id, f.due_at FROM fresh f WHERE f.due_at IS NOT NULL
), people AS (
    INSERT INTO pii.customer (merchant_id, customer_id, created_at, sealed_email, sealed_name, sealed_phone, sealed_address)
    SELECT f.merchant_id, f.customer_id, f.created_at, f.sealed_email, f.sealed_name, f.sealed_phone, f.sealed_address
      FROM fresh f
)
SELECT f.customer_id FROM fresh f ORDER BY f.customer_id;

-- put_off_newcomers
-- Somebody is busy with these newcomers again. Who is not given is none any more: forgotten, or known for good.
WITH held AS (
    SELECT n.merchant_id, n.customer_id
      FROM newcomer n
      JOIN unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id) ON (n.merchant_id, n.customer_id) = (u.merchant_id, u.customer_id)
     ORDER BY n.merchant_id, n.customer_id
       FOR UPDATE OF n
)
UPDATE newcomer n
   SET due_at = $3::timestamptz
  FROM held h
 WHERE (n.merchant_id, n.customer_id) = (h.merchant_id, h.customer_id)
RETURNING n.merchant_id, n.customer_id;

-- due_newcomers
-- Whom it is time to look at: an order names them, or they are forgotten.
SELECT n.merchant_id, n.customer_id, n.due_at AS seen_at
  FROM newcomer n
 WHERE n.due_at <= $1::timestamptz
 ORDER BY n.due_at, n.merchant_id, n.customer_id
 LIMIT $2::int;

-- end_newcomers
-- These wait no more for a first order: it is there, or they are forgotten in this commit. Gives those with whom nobody was busy meanwhile.
DELETE FROM newcomer n
 USING unnest($1::text[], $2::text[], $3::timestamptz[]) AS u(merchant_id, customer_id, seen_at)
 WHERE (n.merchant_id, n.customer_id, n.due_at) = (u.merchant_id, u.customer_id, u.seen_at)
RETURNING n.merchant_id, n.customer_id;

-- forget_newcomers
-- Who is forgotten waits for no order: whoever would write it finds the row gone.
DELETE FROM newcomer n
 USING unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id)
 WHERE (n.merchant_id, n.customer_id) = (u.merchant_id, u.customer_id);

-- note_access
-- What was asked of personal data, and what was decided; append-only.
INSERT INTO pii.access (merchant_id, access_id, at, subject_kind, subject_name, subject_role, action, purpose, customer_id, fields,
                        granted, reason)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::text[], $10::jsonb[], $11::jsonb[], $12::text[]);

-- load_people
-- People's sealed fields and keys; in the clear what the version before wrote and nobody carried over yet.
SELECT c.merchant_id, c.customer_id, c.created_at, c.sealed_email, c.sealed_name, c.sealed_phone, c.sealed_address, c.email, c.name,
       k.wrapped_key, k.wrapped_by
  FROM unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id)
  JOIN pii.customer c ON c.merchant_id = u.merchant_id AND c.customer_id = u.customer_id
  LEFT JOIN pii.subject_key k ON k.merchant_id = c.merchant_id AND k.customer_id = c.customer_id
 ORDER BY c.merchant_id, c.customer_id;

-- search_people
-- Who is known by this, by any of the search keys, the newest first.
SELECT c.customer_id, c.created_at
  FROM pii.customer c
 WHERE c.merchant_id = $1::text
   AND c.customer_id IN (SELECT l.customer_id FROM pii.lookup l
                          WHERE l.merchant_id = $1::text AND l.kind = $2::text AND l.mac = ANY ($3::bytea[]))
 ORDER BY c.customer_id DESC
 LIMIT $4::int;

-- list_people
-- A page of a merchant's customers by their ids, the newest first: no personal data.
SELECT c.customer_id, c.created_at
  FROM pii.customer c
 WHERE c.merchant_id = $1::text AND ($2::text IS NULL OR c.customer_id < $2::text)
 ORDER BY c.customer_id DESC
 LIMIT $3::int;

-- erase_people
-- Forget people's fields. It waits for whoever is just carrying them over.
DELETE FROM pii.customer c
 USING unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id)
 WHERE c.merchant_id = u.merchant_id AND c.customer_id = u.customer_id;

-- shred_keys
-- Forget people's keys: what was sealed with them, here or in a backup, cannot be read any more.
DELETE FROM pii.subject_key k
 USING unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id)
 WHERE k.merchant_id = u.merchant_id AND k.customer_id = u.customer_id;

-- forget_lookups
-- Forget by what people were found.
DELETE FROM pii.lookup l
 USING unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id)
 WHERE l.merchant_id = u.merchant_id AND l.customer_id = u.customer_id;

-- list_accesses
-- A page of the access log of a merchant, or of one customer, the newest first.
SELECT a.access_id, a.at, a.subject_kind, a.subject_name, a.subject_role, a.action, a.purpose, a.customer_id, a.fields, a.granted, a.reason
  FROM pii.access a
 WHERE a.merchant_id = $1::text AND ($2::text IS NULL OR a.customer_id = $2::text) AND ($3::text IS NULL OR a.access_id < $3::text)
 ORDER BY a.access_id DESC
 LIMIT $4::int;

-- look_in_the_clear
-- People whose fields the version before wrote in the clear, seen without a lock: some of all merchants.
SELECT c.merchant_id, c.customer_id
  FROM pii.customer c
 WHERE c.email IS NOT NULL OR c.name IS NOT NULL
 ORDER BY c.merchant_id, c.customer_id
 LIMIT $1::int;

-- lock_in_the_clear
-- Those of the people that were seen who are still in the clear, locked.
SELECT c.merchant_id, c.customer_id, c.email, c.name
  FROM unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id)
  JOIN pii.customer c ON c.merchant_id = u.merchant_id AND c.customer_id = u.customer_id
 WHERE c.email IS NOT NULL OR c.name IS NOT NULL
 ORDER BY c.merchant_id, c.customer_id
   FOR UPDATE OF c;

-- seal_people
-- Put the sealed fields in the place of those in the clear, with keys and lookups; two who say the same stay two customers.
WITH wanted AS (
    SELECT *
      FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bytea[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[],
                  $9::bytea[])
           AS u(merchant_id, customer_id, sealed_at, wrapped_key, wrapped_by, sealed_email, sealed_name, email_mac, shopper_mac)
), keys AS (
    INSERT INTO pii.subject_key (merchant_id, customer_id, wrapped_key, wrapped_by, created_at)
    SELECT w.merchant_id, w.customer_id, w.wrapped_key, w.wrapped_by, w.sealed_at FROM wanted w
), found_by AS (
    INSERT INTO pii.lookup (merchant_id, kind, mac, customer_id)
    SELECT w.merchant_id, 'email', w.email_mac, w.customer_id FROM wanted w WHERE w.email_mac IS NOT NULL
    UNION ALL
    (SELECT w.merchant_id, 'shopper', w.shopper_mac, w.customer_id
       FROM wanted w WHERE w.shopper_mac IS NOT NULL
      ORDER BY w.merchant_id, w.shopper_mac)
    ON CONFLICT DO NOTHING
)
UPDATE pii.customer c
   SET email = NULL, name = NULL, sealed_email = w.sealed_email, sealed_name = w.sealed_name
  FROM wanted w
 WHERE c.merchant_id = w.merchant_id AND c.customer_id = w.customer_id;

-- keys_to_rewrap
-- What people's keys are wrapped by, in the order of their places, from a place on.
SELECT k.merchant_id, k.customer_id, k.wrapped_by
  FROM pii.subject_key k
 WHERE (k.merchant_id, k.customer_id) > ($1::text, $2::text)
 ORDER BY k.merchant_id, k.customer_id
 LIMIT $3::int;

-- rewrap_keys
-- People's keys stand under another text of the key-encryption key, each if it is still as it was read.
UPDATE pii.subject_key k
   SET wrapped_by = n.rewrapped
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS n(merchant_id, customer_id, wrapped_by, rewrapped)
 WHERE (k.merchant_id, k.customer_id) = (n.merchant_id, n.customer_id) AND k.wrapped_by = n.wrapped_by;

-- people_to_reindex
-- People in the order of their places, from a place on.
SELECT c.merchant_id, c.customer_id
  FROM pii.customer c
 WHERE (c.merchant_id, c.customer_id) > ($1::text, $2::text)
 ORDER BY c.merchant_id, c.customer_id
 LIMIT $3::int;

-- lock_people
-- Keep people from every other change.
SELECT c.merchant_id, c.customer_id
  FROM pii.customer c
  JOIN unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id) ON (c.merchant_id, c.customer_id) = (u.merchant_id, u.customer_id)
 ORDER BY c.merchant_id, c.customer_id
   FOR UPDATE OF c;

-- kinds_of_lookups
-- By which kinds of hashes people are found.
SELECT DISTINCT l.merchant_id, l.customer_id, l.kind
  FROM pii.lookup l
  JOIN unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id) ON (l.merchant_id, l.customer_id) = (u.merchant_id, u.customer_id)
 ORDER BY l.merchant_id, l.customer_id, l.kind;

-- insert_lookups
-- By what people are found from now on; two who say the same stay two customers, of whom one is recognised.
INSERT INTO pii.lookup (merchant_id, kind, mac, customer_id)
SELECT u.merchant_id, u.kind, u.mac, u.customer_id
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS u(merchant_id, customer_id, kind, mac)
 ORDER BY u.merchant_id, u.mac
    ON CONFLICT DO NOTHING;
