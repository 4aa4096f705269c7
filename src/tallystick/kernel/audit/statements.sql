-- insert_audit_entry
-- An operator is about to do something.
INSERT INTO audit_entry (id, at, operator, role, via, act, subject, asked, address)
VALUES ($1::text, $2::timestamptz, $3::text, $4::text, $5::text, $6::text, $7::text, $8::jsonb, $9::text);

-- insert_audit_outcome
-- How an act ended.
INSERT INTO audit_outcome (entry, at, outcome, status)
VALUES ($1::text, $2::timestamptz, $3::text, $4::int)
    ON CONFLICT (entry) DO NOTHING;

-- page_of_audit_entries
-- Acts with their outcomes, the newest first: those before an id and from another one on, of one operator where one is named.
SELECT e.id, e.at, e.operator, e.role, e.via, e.act, e.subject, e.asked, e.address, o.at AS ended_at, o.outcome, o.status
  FROM audit_entry e
  LEFT JOIN audit_outcome o ON o.entry = e.id
 WHERE e.id < $1::text AND e.id >= $2::text
   AND ($3::text IS NULL OR e.operator = $3::text)
   AND ($4::text IS NULL OR strpos(e.act, $4::text) > 0)
   AND ($5::text IS NULL OR strpos(e.subject, $5::text) > 0)
 ORDER BY e.id DESC
 LIMIT $6::int;
