-- deliveries_of_messages
-- What became of messages: each delivery as it was made, and as it ended badly or is held; those behind a place.
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, NULL::text AS now, NULL::int AS took_ms, 0 AS more, h.details
  FROM (SELECT CASE WHEN told.ended THEN d.finished_at ELSE d.created_at END AS at,
               CASE WHEN told.ended THEN '75:' ELSE '60:' END || d.id AS place,
               CASE WHEN told.ended THEN 'delivery.dead' WHEN d.state = 'held' THEN 'delivery.held' ELSE 'delivery.made' END AS kind,
               d.id AS subject, d.message AS reference,
               jsonb_build_object('endpoint', d.endpoint, 'type', m.type, 'tries', d.tries, 'reason', d.reason) AS details
          FROM unnest($2::text[], $3::text[]) AS m(id, type)
          JOIN delivery d ON d.owner_id = $1::text AND d.message = m.id
         CROSS JOIN (VALUES (false), (true)) AS told(ended)
         WHERE NOT told.ended OR (d.state = 'dead' AND d.finished_at IS NOT NULL)) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- tries_of_messages
-- Every try to deliver messages, behind a place. Of many failures of one delivery the first two and the last two are told, and the
-- others are counted in one row.
SELECT h.at, h.place, h.kind, h.subject, h.reference, NULL::text AS by, NULL::text AS now, h.took_ms, h.more, h.details
  FROM (SELECT max(t.started_at) AS at,
               '70:' || t.delivery || ':' || lpad(max(t.number)::text, 10, '0') AS place,
               CASE WHEN count(*) > 1 THEN 'tries.failed'
                    WHEN max(t.status) BETWEEN 200 AND 299 THEN 'try.delivered'
                    WHEN max(t.status) IS NOT NULL THEN 'try.refused'
                    ELSE 'try.failed' END AS kind,
               t.delivery AS subject, t.message AS reference,
               CASE WHEN count(*) = 1 THEN max(t.duration_ms) END AS took_ms,
               (count(*) - 1)::int AS more,
               jsonb_build_object('type', t.type, 'number', max(t.number), 'status', max(t.status), 'reason', max(t.reason),
                   'count', count(*)) AS details
          FROM (SELECT a.*, m.type, d.message,
                       row_number() OVER (PARTITION BY a.delivery ORDER BY a.number) AS from_first,
                       row_number() OVER (PARTITION BY a.delivery ORDER BY a.number DESC) AS from_last
                  FROM unnest($2::text[], $3::text[]) AS m(id, type)
                  JOIN delivery d ON d.owner_id = $1::text AND d.message = m.id
                  JOIN delivery_attempt a ON a.owner_id = $1::text AND a.delivery = d.id) AS t
         GROUP BY t.delivery, t.message, t.type,
               CASE WHEN t.from_first <= 2 OR t.from_last <= 2 OR t.status BETWEEN 200 AND 299 THEN t.number ELSE 0 END) AS h
 WHERE (h.at, h.place) > ($4::timestamptz, $5::text)
 ORDER BY h.at, h.place
 LIMIT $6::int;

-- next_tries_of_messages
-- Deliveries of messages that are to be tried: which come next, the earliest first.
SELECT d.due_at AS at, 'due.try' AS kind, d.id AS subject,
       jsonb_build_object('endpoint', d.endpoint, 'type', m.type, 'number', d.tries + 1) AS details
  FROM unnest($2::text[], $3::text[]) AS m(id, type)
  JOIN delivery d ON d.owner_id = $1::text AND d.message = m.id
 WHERE d.state = 'due'
 ORDER BY d.due_at, d.id
 LIMIT $4::int;

-- acts_about
-- What operators did about these ids, behind a place: the ids stood in the address, or as the delivery of a redrive.
SELECT h.at, h.place, h.kind, h.subject, h.reference, h.by, NULL::text AS now, h.took_ms, 0 AS more, h.details
  FROM (SELECT e.at, '90:' || e.id AS place, 'act.' || coalesce(o.outcome, 'begun') AS kind, e.subject, e.id AS reference,
               e.operator AS by, CASE WHEN o.at >= e.at THEN (extract(epoch FROM o.at - e.at) * 1000)::bigint END AS took_ms,
               jsonb_build_object('act', e.act) AS details
          FROM audit_entry e
          LEFT JOIN audit_outcome o ON o.entry = e.id
         WHERE string_to_array(e.subject, '/') && $1::text[] OR (e.asked ->> 'delivery') = ANY ($1::text[])) AS h
 WHERE (h.at, h.place) > ($2::timestamptz, $3::text)
 ORDER BY h.at, h.place
 LIMIT $4::int;
