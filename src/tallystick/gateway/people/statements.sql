-- insert_people
-- People with their keys, sealed fields and lookups; who is there already is left out. Gives the rest.
WITH wanted AS (
    SELECT *
      FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[], $5::bytea[], $6::text[], $7::bytea[], $8::bytea[],
                  $9::bytea[], $10::bytea[], $11::bytea[])
           AS u(account_id, livemode, customer_id, changed_at, wrapped_key, wrapped_by, sealed_email, sealed_name, sealed_phone,
                email_mac, phone_mac)
), people AS (
    INSERT INTO pii.customer (account_id, livemode, customer_id, changed_at, sealed_email, sealed_name, sealed_phone)
    SELECT w.account_id, w.livemode, w.customer_id, w.changed_at, w.sealed_email, w.sealed_name, w.sealed_phone
      FROM wanted w
     ORDER BY w.account_id, w.livemode, w.customer_id
    ON CONFLICT DO NOTHING
    RETURNING account_id, livemode, customer_id
), fresh AS (
    SELECT w.* FROM wanted w JOIN people p USING (account_id, livemode, customer_id)
), keys AS (
    INSERT INTO pii.subject_key (account_id, livemode, customer_id, wrapped_key, wrapped_by, created_at)
    SELECT f.account_id, f.livemode, f.customer_id, f.wrapped_key, f.wrapped_by, f.changed_at FROM fresh f
), found_by AS (
    INSERT INTO pii.lookup (account_id, livemode, kind, mac, customer_id)
    SELECT f.account_id, f.livemode, 'email', f.email_mac, f.customer_id FROM fresh f WHERE f.email_mac IS NOT NULL
    UNION ALL
    SELECT f.account_id, f.livemode, 'phone', f.phone_mac, f.customer_id FROM fresh f WHERE f.phone_mac IS NOT NULL
)
SELECT f.account_id, f.livemode, f.customer_id FROM fresh f ORDER BY f.account_id, f.livemode, f.customer_id;

-- change_people
-- Put newly sealed fields in the place of old ones, each where it says so; who is erased stays erased. Gives the others.
UPDATE pii.customer c
   SET changed_at = n.changed_at, settled = false,
       sealed_email = CASE WHEN n.sets_email THEN n.sealed_email ELSE c.sealed_email END,
       sealed_name = CASE WHEN n.sets_name THEN n.sealed_name ELSE c.sealed_name END,
       sealed_phone = CASE WHEN n.sets_phone THEN n.sealed_phone ELSE c.sealed_phone END
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[], $5::bytea[], $6::bytea[], $7::bytea[], $8::boolean[],
              $9::boolean[], $10::boolean[])
       AS n(account_id, livemode, customer_id, changed_at, sealed_email, sealed_name, sealed_phone, sets_email, sets_name, sets_phone)
 WHERE (c.account_id, c.livemode, c.customer_id) = (n.account_id, n.livemode, n.customer_id)
RETURNING c.account_id, c.livemode, c.customer_id;

-- forget_kinds
-- Forget by what people were found, of one kind each.
DELETE FROM pii.lookup l
 USING unnest($1::text[], $2::boolean[], $3::text[], $4::text[]) AS u(account_id, livemode, customer_id, kind)
 WHERE (l.account_id, l.livemode, l.customer_id, l.kind) = (u.account_id, u.livemode, u.customer_id, u.kind);

-- insert_lookups
-- By what people are found from now on.
INSERT INTO pii.lookup (account_id, livemode, kind, mac, customer_id)
SELECT u.account_id, u.livemode, u.kind, u.mac, u.customer_id
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::bytea[]) AS u(account_id, livemode, customer_id, kind, mac);

-- note_access
-- What was asked of personal data, and what was decided; append-only.
INSERT INTO pii.access (account_id, livemode, access_id, at, subject_kind, subject_name, subject_role, action, purpose, customer_id,
                        fields, granted, reason)
SELECT * FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::text[], $10::text[], $11::jsonb[], $12::jsonb[], $13::text[]);

-- list_accesses
-- A page of the access log of an account in a mode, or of one customer, the newest first.
SELECT a.access_id, a.at, a.subject_kind, a.subject_name, a.subject_role, a.action, a.purpose, a.customer_id, a.fields, a.granted, a.reason
  FROM pii.access a
 WHERE a.account_id = $1::text AND a.livemode = $2::boolean AND ($3::text IS NULL OR a.customer_id = $3::text)
   AND ($4::text IS NULL OR a.access_id < $4::text)
 ORDER BY a.access_id DESC
 LIMIT $5::int;

-- load_people
-- People's sealed fields and keys; in the clear what the version before wrote and nobody carried over yet.
SELECT u.account_id, u.livemode, u.customer_id, coalesce(c.changed_at, timestamptz 'epoch') AS created_at, c.sealed_email,
       c.sealed_name, c.sealed_phone, d.email, d.name, d.phone, k.wrapped_key, k.wrapped_by
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS u(account_id, livemode, customer_id)
  LEFT JOIN pii.customer c ON (c.account_id, c.livemode, c.customer_id) = (u.account_id, u.livemode, u.customer_id)
  LEFT JOIN pii.customer_detail d ON (d.account_id, d.livemode, d.customer) = (u.account_id, u.livemode, u.customer_id)
  LEFT JOIN pii.subject_key k ON (k.account_id, k.livemode, k.customer_id) = (u.account_id, u.livemode, u.customer_id)
 WHERE c.customer_id IS NOT NULL OR d.customer IS NOT NULL
 ORDER BY u.account_id, u.livemode, u.customer_id;

-- search_people
-- Who is known by this, by any of the search keys, the newest first.
SELECT c.customer_id, c.changed_at AS created_at
  FROM pii.customer c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean
   AND c.customer_id IN (SELECT l.customer_id FROM pii.lookup l
                          WHERE l.account_id = $1::text AND l.livemode = $2::boolean AND l.kind = $3::text
                            AND l.mac = ANY ($4::bytea[]))
 ORDER BY c.customer_id DESC
 LIMIT $5::int;

-- erase_people
-- Forget people's fields.
DELETE FROM pii.customer c
 USING unnest($1::text[], $2::boolean[], $3::text[]) AS u(account_id, livemode, customer_id)
 WHERE (c.account_id, c.livemode, c.customer_id) = (u.account_id, u.livemode, u.customer_id);

-- erase_details
-- Forget what the version before wrote in the clear.
DELETE FROM pii.customer_detail d
 USING unnest($1::text[], $2::boolean[], $3::text[]) AS u(account_id, livemode, customer_id)
 WHERE (d.account_id, d.livemode, d.customer) = (u.account_id, u.livemode, u.customer_id);

-- shred_keys
-- Forget people's keys: what was sealed with them, here or in a backup, cannot be read any more.
DELETE FROM pii.subject_key k
 USING unnest($1::text[], $2::boolean[], $3::text[]) AS u(account_id, livemode, customer_id)
 WHERE (k.account_id, k.livemode, k.customer_id) = (u.account_id, u.livemode, u.customer_id);

-- forget_lookups
-- Forget by what people were found.
DELETE FROM pii.lookup l
 USING unnest($1::text[], $2::boolean[], $3::text[]) AS u(account_id, livemode, customer_id)
 WHERE (l.account_id, l.livemode, l.customer_id) = (u.account_id, u.livemode, u.customer_id);

-- look_in_the_clear
-- People whose fields the version before wrote in the clear, seen without a lock: some of all accounts.
SELECT d.account_id, d.livemode, d.customer AS customer_id
  FROM pii.customer_detail d
 ORDER BY d.account_id, d.livemode, d.customer
 LIMIT $1::int;

-- lock_in_the_clear
-- Those of the people that were seen who are still in the clear, locked.
SELECT d.account_id, d.livemode, d.customer AS customer_id, d.email, d.name, d.phone
  FROM pii.customer_detail d
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS u(account_id, livemode, customer_id)
    ON (d.account_id, d.livemode, d.customer) = (u.account_id, u.livemode, u.customer_id)
 ORDER BY d.account_id, d.livemode, d.customer
   FOR UPDATE OF d;

-- seal_people
-- Put the sealed fields in the place of those in the clear, with keys and lookups. Who is sealed already and was written
-- in the clear once more, by a process of the version before, is what that one wrote, under a new key.
WITH wanted AS (
    SELECT *
      FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[], $5::bytea[], $6::text[], $7::bytea[], $8::bytea[],
                  $9::bytea[], $10::bytea[], $11::bytea[])
           AS u(account_id, livemode, customer_id, changed_at, wrapped_key, wrapped_by, sealed_email, sealed_name, sealed_phone,
                email_mac, phone_mac)
), keys AS (
    INSERT INTO pii.subject_key (account_id, livemode, customer_id, wrapped_key, wrapped_by, created_at)
    SELECT w.account_id, w.livemode, w.customer_id, w.wrapped_key, w.wrapped_by, w.changed_at FROM wanted w
    ON CONFLICT (account_id, livemode, customer_id) DO UPDATE
   SET wrapped_key = excluded.wrapped_key, wrapped_by = excluded.wrapped_by
), people AS (
    INSERT INTO pii.customer (account_id, livemode, customer_id, changed_at, sealed_email, sealed_name, sealed_phone)
    SELECT w.account_id, w.livemode, w.customer_id, w.changed_at, w.sealed_email, w.sealed_name, w.sealed_phone FROM wanted w
    ON CONFLICT (account_id, livemode, customer_id) DO UPDATE
   SET changed_at = excluded.changed_at, settled = false, sealed_email = excluded.sealed_email, sealed_name = excluded.sealed_name,
       sealed_phone = excluded.sealed_phone
), found_by AS (
    INSERT INTO pii.lookup (account_id, livemode, kind, mac, customer_id)
    SELECT w.account_id, w.livemode, 'email', w.email_mac, w.customer_id FROM wanted w WHERE w.email_mac IS NOT NULL
    UNION ALL
    SELECT w.account_id, w.livemode, 'phone', w.phone_mac, w.customer_id FROM wanted w WHERE w.phone_mac IS NOT NULL
    ON CONFLICT DO NOTHING
)
DELETE FROM pii.customer_detail d
 USING wanted w
 WHERE (d.account_id, d.livemode, d.customer) = (w.account_id, w.livemode, w.customer_id);

-- unsettled_people
-- People of whom it is not known yet whether the change that stored them was committed; no call takes an hour, so by then it was or never will be.
SELECT c.account_id, c.livemode, c.customer_id, c.changed_at AS seen_at
  FROM pii.customer c
 WHERE NOT c.settled AND c.changed_at < $1::timestamptz - interval '1 hour'
 ORDER BY c.changed_at, c.account_id, c.livemode, c.customer_id
 LIMIT $2::int;

-- settle_people
-- People whose customers are there, unless they were changed again meanwhile.
UPDATE pii.customer c
   SET settled = true
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[]) AS u(account_id, livemode, customer_id, seen_at)
 WHERE (c.account_id, c.livemode, c.customer_id, c.changed_at) = (u.account_id, u.livemode, u.customer_id, u.seen_at);

-- lock_unsettled
-- Keep people whose customers are not there from every change, so that they are erased as they were seen. Gives those who are still so.
SELECT c.account_id, c.livemode, c.customer_id
  FROM pii.customer c
  JOIN unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[]) AS u(account_id, livemode, customer_id, seen_at)
    ON (c.account_id, c.livemode, c.customer_id, c.changed_at) = (u.account_id, u.livemode, u.customer_id, u.seen_at)
 WHERE NOT c.settled
 ORDER BY c.account_id, c.livemode, c.customer_id
   FOR UPDATE OF c;

-- keys_to_rewrap
-- What people's keys are wrapped by, in the order of their places, from a place on.
SELECT k.account_id, k.livemode, k.customer_id, k.wrapped_by
  FROM pii.subject_key k
 WHERE (k.account_id, k.livemode, k.customer_id) > ($1::text, $2::boolean, $3::text)
 ORDER BY k.account_id, k.livemode, k.customer_id
 LIMIT $4::int;

-- rewrap_keys
-- People's keys stand under another text of the key-encryption key, each if it is still as it was read.
UPDATE pii.subject_key k
   SET wrapped_by = n.rewrapped
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[]) AS n(account_id, livemode, customer_id, wrapped_by, rewrapped)
 WHERE (k.account_id, k.livemode, k.customer_id) = (n.account_id, n.livemode, n.customer_id) AND k.wrapped_by = n.wrapped_by;

-- people_to_reindex
-- People in the order of their places, from a place on.
SELECT c.account_id, c.livemode, c.customer_id
  FROM pii.customer c
 WHERE (c.account_id, c.livemode, c.customer_id) > ($1::text, $2::boolean, $3::text)
 ORDER BY c.account_id, c.livemode, c.customer_id
 LIMIT $4::int;

-- lock_people
-- Keep people from every other change.
SELECT c.account_id, c.livemode, c.customer_id
  FROM pii.customer c
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS u(account_id, livemode, customer_id) ON (c.account_id, c.livemode, c.customer_id) = (u.account_id, u.livemode, u.customer_id)
 ORDER BY c.account_id, c.livemode, c.customer_id
   FOR UPDATE OF c;

-- kinds_of_lookups
-- By which kinds of hashes people are found.
SELECT DISTINCT l.account_id, l.livemode, l.customer_id, l.kind
  FROM pii.lookup l
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS u(account_id, livemode, customer_id) ON (l.account_id, l.livemode, l.customer_id) = (u.account_id, u.livemode, u.customer_id)
 ORDER BY l.account_id, l.livemode, l.customer_id, l.kind;
