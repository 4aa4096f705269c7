-- claim_new
-- Claim the keys that nobody holds yet; those that exist are left alone and not returned.
-- NOT EXISTS looks first because ON CONFLICT waits for the open transaction of a holder that is just finishing.
-- The claim is seen by everybody at once and need not wait for the disk: whatever a holder does is committed after it and
-- takes it along, so a claim that a crash of the server loses was one under which nothing had been done.
INSERT INTO idempotency_key (owner_id, mode, key, fingerprint, state, generation, lease_until, created_at)
SELECT c.owner_id, c.mode, c.key, c.fingerprint, 'running', $7::int, $6::timestamptz, $5::timestamptz
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS c(owner_id, mode, key, fingerprint)
 CROSS JOIN set_config('synchronous_commit', 'off', true)
 WHERE NOT EXISTS (SELECT FROM idempotency_key k WHERE (k.owner_id, k.mode, k.key) = (c.owner_id, c.mode, c.key))
 ORDER BY c.owner_id, c.mode, c.key
    ON CONFLICT DO NOTHING
RETURNING owner_id, mode, key;

-- find_keys
-- What is known of keys that someone claimed before.
SELECT k.owner_id, k.mode, k.key, k.fingerprint, k.state, k.status, k.body, k.generation, k.lease_until
  FROM idempotency_key k
  JOIN unnest($1::text[], $2::text[], $3::text[]) AS c(owner_id, mode, key)
    ON (k.owner_id, k.mode, k.key) = (c.owner_id, c.mode, c.key)
 ORDER BY k.owner_id, k.mode, k.key;

-- take_over
-- Become the holder of running keys whose lease has run out; a key that someone else took meanwhile is not returned.
UPDATE idempotency_key k
   SET generation = k.generation + 1, lease_until = $6::timestamptz
  FROM unnest($1::text[], $2::text[], $3::text[], $4::int[]) AS seen(owner_id, mode, key, generation)
 WHERE (k.owner_id, k.mode, k.key, k.generation) = (seen.owner_id, seen.mode, seen.key, seen.generation)
   AND k.state = 'running' AND k.lease_until <= $5::timestamptz
RETURNING k.owner_id, k.mode, k.key, k.generation, k.recovery;

-- record_recovery
-- Note what a holder is about to do outside, so that whoever resumes the key does the same again.
UPDATE idempotency_key k
   SET recovery = held.recovery
  FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[]) AS held(owner_id, mode, key, generation, recovery)
 WHERE (k.owner_id, k.mode, k.key, k.generation) = (held.owner_id, held.mode, held.key, held.generation)
   AND k.state = 'running';

-- finish
-- Keep the answers of finished calls for their replay; a holder whose lease was taken over touches nothing.
UPDATE idempotency_key k
   SET state = 'done', status = held.status, body = held.body
  FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::bytea[])
       AS held(owner_id, mode, key, generation, status, body)
 WHERE (k.owner_id, k.mode, k.key, k.generation) = (held.owner_id, held.mode, held.key, held.generation)
   AND k.state = 'running';

-- release
-- Forget a key whose call was refused before it did anything: the corrected call executes.
DELETE FROM idempotency_key k
 USING unnest($1::text[], $2::text[], $3::text[], $4::int[]) AS held(owner_id, mode, key, generation)
 WHERE (k.owner_id, k.mode, k.key, k.generation) = (held.owner_id, held.mode, held.key, held.generation)
   AND k.state = 'running' AND k.recovery IS NULL;

-- suspend
-- End the lease of a call that broke off, so that its retry resumes at once.
UPDATE idempotency_key k
   SET lease_until = $5::timestamptz
  FROM unnest($1::text[], $2::text[], $3::text[], $4::int[]) AS held(owner_id, mode, key, generation)
 WHERE (k.owner_id, k.mode, k.key, k.generation) = (held.owner_id, held.mode, held.key, held.generation)
   AND k.state = 'running';

-- reap
-- Drop finished keys that are older than the published time and its margin; an unfinished key is never dropped.
DELETE FROM idempotency_key k
 USING (SELECT owner_id, mode, key
          FROM idempotency_key
         WHERE state = 'done' AND created_at < $1::timestamptz
         ORDER BY owner_id, mode, key
         LIMIT $2::int) AS old
 WHERE (k.owner_id, k.mode, k.key) = (old.owner_id, old.mode, old.key) AND k.state = 'done';

-- oldest_key
-- When the oldest key was claimed.
SELECT min(k.created_at) AS created_at FROM idempotency_key k;

-- running_keys
-- Of the next keys of a span of time, in the order of their claims and $6 at most: those whose calls have not ended, with
-- the point at which each can be resumed; and the last of the $6, after which there may be more. By the index on
-- `created_at`, which no later change of a key touches: one on `state` would have every finish write to all indexes.
SELECT l.owner_id, l.mode, l.key, l.generation, l.lease_until, l.created_at, l.state = 'running' AS is_running,
       l.number = $6::int AS is_last
  FROM (SELECT k.owner_id, k.mode, k.key, k.generation, k.lease_until, k.created_at, k.state,
               row_number() OVER (ORDER BY k.created_at, k.owner_id, k.mode, k.key) AS number
          FROM idempotency_key k
         WHERE k.created_at >= $1::timestamptz
           AND (k.created_at, k.owner_id, k.mode, k.key) > ($1::timestamptz, $2::text, $3::text, $4::text)
           AND k.created_at < $5::timestamptz
         ORDER BY k.created_at, k.owner_id, k.mode, k.key
         LIMIT $6::int) AS l
 WHERE l.state = 'running' OR l.number = $6::int
 ORDER BY l.created_at, l.owner_id, l.mode, l.key;
