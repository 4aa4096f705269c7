-- ready
-- Does the database answer, and has it a schema?
SELECT account_id FROM account WHERE false;
