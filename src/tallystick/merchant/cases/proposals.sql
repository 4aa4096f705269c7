-- lock_case
-- A case that somebody wants to do something about, locked until the transaction ends, with what its execution depends on.
SELECT c.merchant_id, c.case_id, c.kind, c.subject, c.order_id, c.attempt, c.state, c.details, o.version, o.connection_id,
       (SELECT coalesce(max(p.number), 0)::int FROM case_proposal p WHERE (p.merchant_id, p.case_id) = (c.merchant_id, c.case_id)) AS proposals
  FROM cases c
  LEFT JOIN orders o ON (o.merchant_id, o.order_id) = (c.merchant_id, c.order_id)
 WHERE c.merchant_id = $1::text AND c.case_id = $2::text
 ORDER BY c.merchant_id, c.case_id
   FOR NO KEY UPDATE OF c;

-- insert_proposal
-- What a person proposes.
INSERT INTO case_proposal (merchant_id, case_id, number, action, note, basis, proposed_by, proposed_at)
VALUES ($1::text, $2::text, $3::int, $4::text, $5::text, $6::bytea, $7::text, $8::timestamptz);

-- open_proposal
-- The proposal of a case that waits for another person.
SELECT p.number, p.action, p.basis, p.proposed_by
  FROM case_proposal p
 WHERE p.merchant_id = $1::text AND p.case_id = $2::text AND p.state = 'proposed';

-- list_proposals
-- Everything that was proposed about a case.
SELECT p.number, p.action, p.note, p.state, p.proposed_by, p.proposed_at, p.decided_by, p.decided_at
  FROM case_proposal p
 WHERE p.merchant_id = $1::text AND p.case_id = $2::text
 ORDER BY p.number;

-- decide_proposal
-- Another person has decided; the same one is refused by a constraint.
UPDATE case_proposal p
   SET state = $4::text, decided_by = $5::text, decided_at = $6::timestamptz
 WHERE p.merchant_id = $1::text AND p.case_id = $2::text AND p.number = $3::int AND p.state = 'proposed';

-- close_case
-- A case is done with.
UPDATE cases c
   SET state = 'closed', closed_at = $3::timestamptz
 WHERE c.merchant_id = $1::text AND c.case_id = $2::text AND c.state = 'open';

-- insert_audit
-- Who did what.
INSERT INTO audit (merchant_id, audit_id, at, who, what, subject, details)
VALUES ($1::text, $2::text, $3::timestamptz, $4::text, $5::text, $6::text, $7::jsonb);
