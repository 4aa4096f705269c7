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
INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, reason, due_at, created_at)
SELECT d.owner_id, d.id, true, d.message, d.api_version, d.endpoint, d.state, d.reason, $1::timestamptz, $1::timestamptz
  FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
       AS d(owner_id, id, message, api_version, endpoint, state, reason);

-- endpoints_to_call
-- Where notifications go and with which secrets; deleted endpoints are not returned.
SELECT e.merchant_id, e.endpoint_id, e.url, e.status, e.secrets
  FROM unnest($1::text[], $2::text[]) AS wanted(merchant_id, endpoint_id)
  JOIN notification_endpoint e ON (e.merchant_id, e.endpoint_id) = (wanted.merchant_id, wanted.endpoint_id)
 WHERE e.deleted_at IS NULL
 ORDER BY e.merchant_id, e.endpoint_id;

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
