-- listeners_of
-- The endpoints of some merchants, and what they want to hear.
SELECT e.merchant_id, e.endpoint_id, e.status, e.enabled_events
  FROM unnest($1::text[]) AS wanted(merchant_id)
  JOIN notification_endpoint e ON e.merchant_id = wanted.merchant_id
 WHERE e.deleted_at IS NULL
 ORDER BY e.merchant_id, e.endpoint_id;

-- insert_notifications
-- Messages and their deliveries, in the transaction of what they tell.
WITH messages AS (
    INSERT INTO message (owner_id, id, api_version, body)
    SELECT m.* FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) AS m(owner_id, id, api_version, body)
)
INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, reason, due_at, created_at, trace)
SELECT d.owner_id, d.id, true, d.message, d.api_version, d.endpoint, d.state, d.reason, $1::timestamptz, $1::timestamptz, d.trace
  FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])
       AS d(owner_id, id, message, api_version, endpoint, state, reason, trace);

-- endpoints_to_call
-- Where notifications go and with which secrets; deleted endpoints are not returned.
SELECT e.merchant_id, e.endpoint_id, e.url, e.status, e.secrets
  FROM unnest($1::text[], $2::text[]) AS wanted(merchant_id, endpoint_id)
  JOIN notification_endpoint e ON (e.merchant_id, e.endpoint_id) = (wanted.merchant_id, wanted.endpoint_id)
 WHERE e.deleted_at IS NULL
 ORDER BY e.merchant_id, e.endpoint_id;

-- called_of_shops
-- What of shops is called, from behind one on, of all merchants: enabled endpoints and stock hooks.
SELECT c.merchant_id, c.kind, c.id, c.url
  FROM (SELECT e.merchant_id, 'endpoint' AS kind, e.endpoint_id AS id, e.url
          FROM notification_endpoint e
         WHERE e.status = 'enabled' AND e.deleted_at IS NULL
        UNION ALL
        SELECT m.merchant_id, 'stock hook of', m.merchant_id, m.stock_url
          FROM merchant m
         WHERE m.stock_url IS NOT NULL) c
 WHERE (c.merchant_id, c.kind, c.id) > ($1::text, $2::text, $3::text)
 ORDER BY c.merchant_id, c.kind, c.id
 LIMIT $4::int;

-- set_status
-- Disable endpoints, or enable them again.
UPDATE notification_endpoint e
   SET status = $3::text
  FROM unnest($1::text[], $2::text[]) AS wanted(merchant_id, endpoint_id)
 WHERE (e.merchant_id, e.endpoint_id) = (wanted.merchant_id, wanted.endpoint_id) AND e.deleted_at IS NULL;

-- insert_endpoint
-- A new endpoint of an existing merchant, with its first secret.
INSERT INTO notification_endpoint (merchant_id, endpoint_id, url, enabled_events, secrets, created_at)
SELECT m.merchant_id, $2::text, $3::text, $4::text[], $5::text[], $6::timestamptz
  FROM merchant m WHERE m.merchant_id = $1::text;

-- list_endpoints
-- A merchant's endpoints, the oldest first.
SELECT e.merchant_id, e.endpoint_id, e.url, e.status, e.enabled_events, e.created_at
  FROM notification_endpoint e
 WHERE e.merchant_id = $1::text AND e.deleted_at IS NULL
 ORDER BY e.endpoint_id;

-- set_url
-- The new address of an endpoint.
UPDATE notification_endpoint SET url = $3::text WHERE merchant_id = $1::text AND endpoint_id = $2::text AND deleted_at IS NULL;

-- set_secrets
-- The secrets that sign for an endpoint: one more during a rotation.
UPDATE notification_endpoint SET secrets = (ARRAY[$3::text] || secrets)[1:$4::int]
 WHERE merchant_id = $1::text AND endpoint_id = $2::text AND deleted_at IS NULL;

-- delete_endpoint
-- Delete an endpoint; its row stays, because deliveries name it.
UPDATE notification_endpoint SET deleted_at = $3::timestamptz
 WHERE merchant_id = $1::text AND endpoint_id = $2::text AND deleted_at IS NULL;

-- page_of_dead_letters
-- Notifications whose tries are exhausted and that fit what is given, the first to die first, behind one of them ($9 to $11). Their
-- type stands in what was sent.
SELECT d.owner_id, d.livemode, d.id, d.message, d.endpoint, d.reason, d.tries, d.created_at, d.finished_at, e.url,
       convert_from(m.body, 'UTF8')::jsonb ->> 'type' AS type
  FROM delivery d
  LEFT JOIN message m ON (m.owner_id, m.id, m.api_version) = (d.owner_id, d.message, d.api_version)
  LEFT JOIN notification_endpoint e ON (e.merchant_id, e.endpoint_id) = (d.owner_id, d.endpoint)
 WHERE d.state = 'dead' AND (d.finished_at, d.owner_id, d.id) > ($9::timestamptz, $10::text, $11::text)
   AND ($1::text IS NULL OR d.owner_id = $1::text) AND ($2::text IS NULL OR d.endpoint = $2::text)
   AND ($3::text IS NULL OR d.reason = $3::text) AND ($4::text IS NULL OR d.id = $4::text)
   AND ($5::timestamptz IS NULL OR d.finished_at >= $5::timestamptz) AND ($6::timestamptz IS NULL OR d.finished_at < $6::timestamptz)
   AND ($7::text IS NULL OR convert_from(m.body, 'UTF8')::jsonb ->> 'type' = $7::text)
   AND ($8::boolean IS NULL OR $8::boolean = (coalesce(d.reason, '') = ANY ($13::text[])))
 ORDER BY d.finished_at, d.owner_id, d.id
 LIMIT $12::int;

-- count_dead_letters
-- How many notifications whose tries are exhausted fit what is given, and when the last of them died.
SELECT count(*)::int AS letters, max(d.finished_at) AS last_at
  FROM delivery d
  LEFT JOIN message m ON (m.owner_id, m.id, m.api_version) = (d.owner_id, d.message, d.api_version)
 WHERE d.state = 'dead'
   AND ($1::text IS NULL OR d.owner_id = $1::text) AND ($2::text IS NULL OR d.endpoint = $2::text)
   AND ($3::text IS NULL OR d.reason = $3::text) AND ($4::text IS NULL OR d.id = $4::text)
   AND ($5::timestamptz IS NULL OR d.finished_at >= $5::timestamptz) AND ($6::timestamptz IS NULL OR d.finished_at < $6::timestamptz)
   AND ($7::text IS NULL OR convert_from(m.body, 'UTF8')::jsonb ->> 'type' = $7::text)
   AND ($8::boolean IS NULL OR $8::boolean = (coalesce(d.reason, '') = ANY ($9::text[])));
