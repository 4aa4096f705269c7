-- listeners_of
-- The endpoints of some accounts, each in one mode, with the API version in which they hear of events. `mark` changes with
-- anything that matters to events; `open_payments` compares it.
SELECT e.account_id, e.livemode, e.id, e.status, e.enabled_events, coalesce(e.api_version, a.default_api_version) AS api_version,
       ROW(e.id, e.status, e.enabled_events, e.api_version, a.default_api_version)::text AS mark
  FROM unnest($1::text[], $2::boolean[]) AS wanted(account_id, livemode)
  JOIN webhook_endpoint e ON (e.account_id, e.livemode) = (wanted.account_id, wanted.livemode)
  JOIN account a ON a.account_id = e.account_id
 WHERE e.deleted_at IS NULL
 ORDER BY e.account_id, e.livemode, e.id;

-- record_events
-- Write events, their messages and their deliveries together: one round trip inside the transaction of what happened.
WITH events AS (
    INSERT INTO event (account_id, livemode, id, type, object_id, object, previous, request_id, idempotency_key, trace, created_at)
    SELECT e.*, $1::timestamptz
      FROM unnest($2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                  $11::text[])
           AS e(account_id, livemode, id, type, object_id, object, previous, request_id, idempotency_key, trace)
), messages AS (
    INSERT INTO message (owner_id, id, api_version, body)
    SELECT m.* FROM unnest($12::text[], $13::text[], $14::text[], $15::bytea[]) AS m(owner_id, id, api_version, body)
)
INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, reason, trace, due_at, created_at)
SELECT d.*, $1::timestamptz, $1::timestamptz
  FROM unnest($16::text[], $17::text[], $18::boolean[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[],
              $24::text[])
       AS d(owner_id, id, livemode, message, api_version, endpoint, state, reason, trace);

-- endpoints_to_call
-- Where deliveries go, with which schedule, and with the secrets that live now; deleted endpoints are not returned.
SELECT e.account_id, e.livemode, e.id, e.url, e.status, e.retry_delays_s,
       CASE WHEN e.older_secrets_until <= $4::timestamptz THEN e.secrets[1:1] ELSE e.secrets END AS secrets
  FROM webhook_endpoint e
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (e.account_id, e.livemode, e.id) = (wanted.account_id, wanted.livemode, wanted.id)
 WHERE e.deleted_at IS NULL
 ORDER BY e.account_id, e.livemode, e.id;

-- enabled_endpoints
-- Where webhooks are sent, from behind one endpoint on, of all accounts: for whoever examines an installation.
SELECT e.account_id, e.livemode, e.id, e.url
  FROM webhook_endpoint e
 WHERE (e.account_id, e.livemode, e.id) > ($1::text, $2::boolean, $3::text) AND e.status = 'enabled' AND e.deleted_at IS NULL
 ORDER BY e.account_id, e.livemode, e.id
 LIMIT $4::int;

-- disable_endpoints
-- Disable endpoints that asked to be left alone.
UPDATE webhook_endpoint e
   SET status = 'disabled'
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS gone(account_id, livemode, id)
 WHERE (e.account_id, e.livemode, e.id) = (gone.account_id, gone.livemode, gone.id) AND e.deleted_at IS NULL;

-- lock_accounts
-- Accounts that get endpoints, locked until they have them: however many ask at once, each sees those of the others.
SELECT a.account_id
  FROM account a
 WHERE a.account_id = ANY ($1::text[])
 ORDER BY a.account_id
   FOR NO KEY UPDATE OF a;

-- count_endpoints
-- How many endpoints some accounts have, each in one mode.
SELECT wanted.account_id, wanted.livemode, count(e.id) AS endpoints
  FROM unnest($1::text[], $2::boolean[]) AS wanted(account_id, livemode)
  LEFT JOIN webhook_endpoint e ON (e.account_id, e.livemode) = (wanted.account_id, wanted.livemode) AND e.deleted_at IS NULL
 GROUP BY wanted.account_id, wanted.livemode
 ORDER BY wanted.account_id, wanted.livemode;

-- insert_endpoints
-- Store new endpoints, each with its first secret; the event types come as a JSON array.
INSERT INTO webhook_endpoint
       (account_id, livemode, id, url, status, enabled_events, api_version, description, metadata, created_at, secrets)
SELECT e.account_id, e.livemode, e.id, e.url, e.status,
       ARRAY(SELECT type FROM jsonb_array_elements_text(e.enabled_events) WITH ORDINALITY AS t(type, place) ORDER BY place),
       e.api_version, e.description, e.metadata, e.created_at, ARRAY[e.secret]
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[], $9::jsonb[],
              $10::timestamptz[], $11::text[])
       AS e(account_id, livemode, id, url, status, enabled_events, api_version, description, metadata, created_at, secret);

-- lock_endpoints
-- Endpoints as their owner sees them, locked for a change; deleted ones are gone.
SELECT e.account_id, e.livemode, e.id, e.url, e.status, e.enabled_events, e.api_version, e.description, e.metadata, e.created_at
  FROM webhook_endpoint e
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (e.account_id, e.livemode, e.id) = (wanted.account_id, wanted.livemode, wanted.id)
 WHERE e.deleted_at IS NULL
 ORDER BY e.account_id, e.livemode, e.id
   FOR UPDATE OF e;

-- save_endpoints
-- Write changed endpoints back; the event types come as a JSON array.
UPDATE webhook_endpoint e
   SET url = new.url, status = new.status, description = new.description, metadata = new.metadata,
       enabled_events = ARRAY(SELECT type FROM jsonb_array_elements_text(new.enabled_events) WITH ORDINALITY AS t(type, place)
                               ORDER BY place)
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[], $9::jsonb[],
              $10::timestamptz[])
       AS new(account_id, livemode, id, url, status, enabled_events, api_version, description, metadata, created_at)
 WHERE (e.account_id, e.livemode, e.id) = (new.account_id, new.livemode, new.id) AND e.deleted_at IS NULL;

-- delete_endpoints
-- Delete endpoints; their rows stay, because deliveries name them.
UPDATE webhook_endpoint e
   SET deleted_at = $4::timestamptz
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS gone(account_id, livemode, id)
 WHERE (e.account_id, e.livemode, e.id) = (gone.account_id, gone.livemode, gone.id) AND e.deleted_at IS NULL;

-- roll_secrets
-- A new secret for endpoints; the one before signs beside it until a given time, older ones no more.
UPDATE webhook_endpoint e
   SET secrets = CASE WHEN new.until <= $6::timestamptz THEN ARRAY[new.secret] ELSE ARRAY[new.secret, e.secrets[1]] END,
       older_secrets_until = new.until
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::timestamptz[])
       AS new(account_id, livemode, id, secret, until)
 WHERE (e.account_id, e.livemode, e.id) = (new.account_id, new.livemode, new.id) AND e.deleted_at IS NULL
RETURNING e.account_id, e.livemode, e.id;

-- page_of_dead_letters
-- Dead letters that fit what is given, the last to die first, behind one of them ($11 to $13).
SELECT d.owner_id, d.livemode, d.id, d.message, d.endpoint, d.reason, d.tries, d.created_at, d.finished_at, e.type, w.url
  FROM delivery d
  LEFT JOIN event e ON (e.account_id, e.livemode, e.id) = (d.owner_id, d.livemode, d.message)
  LEFT JOIN webhook_endpoint w ON (w.account_id, w.livemode, w.id) = (d.owner_id, d.livemode, d.endpoint)
 WHERE d.state = 'dead' AND (d.finished_at, d.owner_id, d.id) < ($11::timestamptz, $12::text, $13::text)
   AND ($1::text IS NULL OR d.owner_id = $1::text) AND ($2::boolean IS NULL OR d.livemode = $2::boolean)
   AND ($3::text IS NULL OR d.endpoint = $3::text) AND ($4::text IS NULL OR e.type LIKE $4::text)
   AND ($5::text IS NULL OR d.reason = $5::text)
   AND ($6::boolean IS NULL OR $6::boolean = (coalesce(d.reason, '') = ANY ($7::text[])))
   AND ($8::timestamptz IS NULL OR d.finished_at >= $8::timestamptz)
   AND ($9::timestamptz IS NULL OR d.finished_at < $9::timestamptz)
   AND ($10::text IS NULL OR d.id = $10::text)
 ORDER BY d.finished_at DESC, d.owner_id DESC, d.id DESC
 LIMIT $14::int;

-- next_dead_letters
-- Dead letters that fit what is given, the first to die first, behind one of them ($11 to $13).
SELECT d.owner_id, d.livemode, d.id, d.endpoint, d.finished_at
  FROM delivery d
  LEFT JOIN event e ON (e.account_id, e.livemode, e.id) = (d.owner_id, d.livemode, d.message)
 WHERE d.state = 'dead' AND (d.finished_at, d.owner_id, d.id) > ($11::timestamptz, $12::text, $13::text)
   AND ($1::text IS NULL OR d.owner_id = $1::text) AND ($2::boolean IS NULL OR d.livemode = $2::boolean)
   AND ($3::text IS NULL OR d.endpoint = $3::text) AND ($4::text IS NULL OR e.type LIKE $4::text)
   AND ($5::text IS NULL OR d.reason = $5::text)
   AND ($6::boolean IS NULL OR $6::boolean = (coalesce(d.reason, '') = ANY ($7::text[])))
   AND ($8::timestamptz IS NULL OR d.finished_at >= $8::timestamptz)
   AND ($9::timestamptz IS NULL OR d.finished_at < $9::timestamptz)
   AND ($10::text IS NULL OR d.id = $10::text)
 ORDER BY d.finished_at, d.owner_id, d.id
 LIMIT $14::int;

-- count_dead_letters
-- How many dead letters fit what is given, and when the last of them died.
SELECT count(*)::int AS letters, max(d.finished_at) AS last_at
  FROM delivery d
  LEFT JOIN event e ON (e.account_id, e.livemode, e.id) = (d.owner_id, d.livemode, d.message)
 WHERE d.state = 'dead'
   AND ($1::text IS NULL OR d.owner_id = $1::text) AND ($2::boolean IS NULL OR d.livemode = $2::boolean)
   AND ($3::text IS NULL OR d.endpoint = $3::text) AND ($4::text IS NULL OR e.type LIKE $4::text)
   AND ($5::text IS NULL OR d.reason = $5::text)
   AND ($6::boolean IS NULL OR $6::boolean = (coalesce(d.reason, '') = ANY ($7::text[])))
   AND ($8::timestamptz IS NULL OR d.finished_at >= $8::timestamptz)
   AND ($9::timestamptz IS NULL OR d.finished_at < $9::timestamptz)
   AND ($10::text IS NULL OR d.id = $10::text);

-- attempts_of_delivery
-- Every try of a delivery, the first one first.
SELECT a.number, a.started_at, a.duration_ms, a.status, a.reason, a.answer
  FROM delivery_attempt a
 WHERE a.owner_id = $1::text AND a.delivery = $2::text
 ORDER BY a.number;
